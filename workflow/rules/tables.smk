rule tabulate_gaussian:
    input:
        scores=expand(out("metrics/gaussian/{law}.csv"), law=CONFIG.gaussian.laws),
        code=code("tabulate.py"),
    output:
        csv=report(
            out("tables/gaussian.csv"),
            category="Experiment 1: Gaussians",
            caption="../report/gaussian_table.rst",
        ),
        md=out("tables/gaussian.md"),
        tex=out("tables/gaussian.tex"),
    log:
        out("logs/tabulate_gaussian.log"),
    benchmark:
        out("benchmarks/tabulate_gaussian.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        fingerprint=digest("gaussian", "samples", "seeds"),
        seeds=CONFIG.seeds,
        experiment="gaussian",
        labels={law: law for law in CONFIG.gaussian.laws},
    script:
        "../scripts/tabulate.py"


use rule tabulate_gaussian as tabulate_univariate with:
    input:
        scores=expand(out("metrics/univariate/{law}.csv"), law=CONFIG.univariate.laws),
        code=code("tabulate.py"),
    output:
        csv=report(
            out("tables/univariate.csv"),
            category="Experiment 2: univariate laws",
            caption="../report/univariate_table.rst",
        ),
        md=out("tables/univariate.md"),
        tex=out("tables/univariate.tex"),
    log:
        out("logs/tabulate_univariate.log"),
    benchmark:
        out("benchmarks/tabulate_univariate.tsv")
    params:
        fingerprint=digest("univariate", "samples", "seeds"),
        seeds=CONFIG.seeds,
        experiment="univariate",
        labels={law: entry.label for law, entry in CONFIG.univariate.laws.items()},


use rule tabulate_gaussian as tabulate_spread with:
    input:
        scores=expand(out("metrics/spread/{law}.csv"), law=CONFIG.spread.laws),
        code=code("tabulate.py"),
    output:
        csv=report(
            out("tables/spread.csv"),
            category="Spread",
            caption="../report/spread_table.rst",
        ),
        md=out("tables/spread.md"),
        tex=out("tables/spread.tex"),
    log:
        out("logs/tabulate_spread.log"),
    benchmark:
        out("benchmarks/tabulate_spread.tsv")
    params:
        fingerprint=digest(*solved(CONFIG.spread.laws), "spread"),
        seeds=[],
        experiment="spread",
        labels={law: CONFIG.univariate.laws[law].label for law in CONFIG.spread.laws},


use rule tabulate_gaussian as tabulate_planar with:
    input:
        scores=expand(
            out("metrics/learned/{law}/{method}.csv"), law=CONFIG.learning.planar.laws, method=CONFIG.learning.methods
        ),
        code=code("tabulate.py"),
    output:
        csv=report(
            out("tables/planar.csv"),
            category="Experiment 3: planar laws",
            caption="../report/planar_table.rst",
        ),
        md=out("tables/planar.md"),
        tex=out("tables/planar.tex"),
    log:
        out("logs/tabulate_planar.log"),
    benchmark:
        out("benchmarks/tabulate_planar.tsv")
    params:
        fingerprint=digest("learning"),
        seeds=CONFIG.learning.seeds,
        experiment="planar",
        labels={law: law.replace("_", " ") for law in CONFIG.learning.planar.laws},


use rule tabulate_gaussian as tabulate_truth with:
    input:
        scores=expand(out("metrics/learned/{law}/{method}.csv"), law=TRUTHS, method=TRUTH_METHODS),
        code=code("tabulate.py"),
    output:
        csv=report(
            out("tables/truth.csv"),
            category="Experiment 7: exact truth",
            caption="../report/truth_table.rst",
        ),
        md=out("tables/truth.md"),
        tex=out("tables/truth.tex"),
    log:
        out("logs/tabulate_truth.log"),
    benchmark:
        out("benchmarks/tabulate_truth.tsv")
    params:
        fingerprint=digest("learning"),
        seeds=CONFIG.learning.seeds,
        experiment="truth",
        labels={law: law.replace("_", " ") for law in TRUTHS},


use rule tabulate_gaussian as tabulate_density with:
    input:
        scores=expand(out("metrics/density/{energy}/{method}.csv"), energy=ENERGIES, method=CONFIG.density.methods),
        code=code("tabulate.py"),
    output:
        csv=report(
            out("tables/density.csv"),
            category="Experiment 4: unnormalised densities",
            caption="../report/density_table.rst",
        ),
        md=out("tables/density.md"),
        tex=out("tables/density.tex"),
    log:
        out("logs/tabulate_density.log"),
    benchmark:
        out("benchmarks/tabulate_density.tsv")
    params:
        fingerprint=digest("density"),
        seeds=DENSITY_SEEDS,
        experiment="density",
        labels={energy: energy.replace("_d", ", d = ").replace("_", " ") for energy in ENERGIES},


use rule tabulate_gaussian as tabulate_images with:
    input:
        scores=[out(f"metrics/images/{images}/{model}.csv") for images, model in image_models()],
        code=code("tabulate.py"),
    output:
        csv=report(
            out("tables/images.csv"),
            category="Experiment 5: images",
            caption="../report/images_table.rst",
        ),
        md=out("tables/images.md"),
        tex=out("tables/images.tex"),
    log:
        out("logs/tabulate_images.log"),
    benchmark:
        out("benchmarks/tabulate_images.tsv")
    params:
        fingerprint=digest("images"),
        seeds=IMAGE_SEEDS,
        experiment="images",
        labels={images: images for images in IMAGES},


use rule tabulate_gaussian as tabulate_inpainting with:
    input:
        scores=expand(
            out("metrics/inpainting/{images}/{restorer}.csv"), images=CONFIG.images.inpainting.sets, restorer=RESTORERS
        ),
        code=code("tabulate.py"),
    output:
        csv=report(
            out("tables/inpainting.csv"),
            category="Experiment 6: inpainting",
            caption="../report/inpainting_table.rst",
        ),
        md=out("tables/inpainting.md"),
        tex=out("tables/inpainting.tex"),
    log:
        out("logs/tabulate_inpainting.log"),
    benchmark:
        out("benchmarks/tabulate_inpainting.tsv")
    params:
        fingerprint=digest("images"),
        seeds=IMAGE_SEEDS,
        experiment="inpainting",
        labels={
            f"{images}_{mask}": f"{images}, {mask}"
            for images in CONFIG.images.inpainting.sets
            for mask in CONFIG.images.inpainting.masks
        },


rule tabulate_claims:
    input:
        density=expand(out("metrics/density/{energy}/{method}.csv"), energy=ENERGIES, method=CONFIG.density.methods),
        spread=expand(out("metrics/spread/{law}.csv"), law=CONFIG.spread.laws),
        planar=expand(
            out("metrics/learned/{law}/{method}.csv"), law=CONFIG.learning.planar.laws, method=CONFIG.learning.methods
        ),
        truth=expand(out("metrics/learned/{law}/{method}.csv"), law=TRUTHS, method=TRUTH_METHODS),
        code=code("tabulate_claims.py"),
    output:
        csv=report(
            out("tables/claims.csv"),
            category="Claims",
            caption="../report/claims_table.rst",
        ),
        md=out("tables/claims.md"),
        tex=out("tables/claims.tex"),
    log:
        out("logs/tabulate_claims.log"),
    benchmark:
        out("benchmarks/tabulate_claims.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        fingerprint=digest(*solved(CONFIG.spread.laws), "spread", "learning", "density"),
        seeds=sorted({*CONFIG.learning.seeds, *DENSITY_SEEDS}),
    script:
        "../scripts/tabulate_claims.py"
