rule plot_gaussian:
    input:
        fits=[out(f"fits/gaussian/{law}/{method}/fit.npz") for law, method in planar_fits()],
        sweep=out("fits/gaussian/scales.csv"),
        code=code("plot_gaussian.py"),
    output:
        pdf=out("figures/gaussian.pdf"),
        png=report(
            out("figures/gaussian.png"),
            category="Experiment 1: Gaussians",
            caption="../report/gaussian_figure.rst",
        ),
    log:
        out("logs/plot_gaussian.log"),
    benchmark:
        out("benchmarks/plot_gaussian.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        fits=planar_fits(),
        dpi=CONFIG.figures.dpi,
        fingerprint=digest("gaussian", "figures"),
    script:
        "../scripts/plot_gaussian.py"


rule plot_univariate:
    input:
        profiles=lambda wildcards: expand(out("metrics/univariate/{law}.npz"), law=PAGES[wildcards.page]),
        code=code("plot_univariate.py"),
    output:
        pdf=out("figures/{page}.pdf"),
        png=report(
            out("figures/{page}.png"),
            category="Experiment 2: univariate laws",
            caption="../report/univariate_figure.rst",
        ),
    log:
        out("logs/plot_univariate/{page}.log"),
    benchmark:
        out("benchmarks/plot_univariate/{page}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        labels=lambda wildcards: labels(PAGES[wildcards.page]),
        dpi=CONFIG.figures.dpi,
        fingerprint=lambda wildcards: digest(*solved(PAGES[wildcards.page]), "figures")(wildcards),
    script:
        "../scripts/plot_univariate.py"


rule plot_convergence:
    input:
        fits=expand(out("fits/univariate/{law}/conjugate/fit.npz"), law=CONFIG.univariate.laws),
        traces=expand(
            out("fits/univariate/{law}/conjugate/trace.csv"),
            law=CONFIG.univariate.laws,
        ),
        code=code("plot_convergence.py"),
    output:
        pdf=out("figures/convergence.pdf"),
        png=report(
            out("figures/convergence.png"),
            category="Experiment 2: univariate laws",
            caption="../report/convergence_figure.rst",
        ),
    log:
        out("logs/plot_convergence.log"),
    benchmark:
        out("benchmarks/plot_convergence.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        labels=labels(CONFIG.univariate.laws),
        tolerance=CONFIG.univariate.tolerance,
        dpi=CONFIG.figures.dpi,
        fingerprint=digest("univariate", "figures"),
    script:
        "../scripts/plot_convergence.py"


rule plot_spread:
    input:
        sweeps=expand(
            out("fits/spread/{law}/{factorization}.csv"),
            law=CONFIG.spread.laws,
            factorization=FACTORIZATIONS,
        ),
        code=code("plot_spread.py"),
    output:
        pdf=out("figures/spread.pdf"),
        png=report(
            out("figures/spread.png"),
            category="Spread",
            caption="../report/spread_figure.rst",
        ),
    log:
        out("logs/plot_spread.log"),
    benchmark:
        out("benchmarks/plot_spread.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        sweeps=[(label, method) for label in labels(CONFIG.spread.laws) for method in FACTORIZATIONS],
        dpi=CONFIG.figures.dpi,
        fingerprint=digest(*solved(CONFIG.spread.laws), "spread", "figures"),
    script:
        "../scripts/plot_spread.py"


rule plot_planar:
    input:
        draws=[out(f"metrics/learned/{law}/{method}.npz") for law, method in planar_methods()],
        code=code("plot_planar.py"),
    output:
        planar_pdf=out("figures/planar.pdf"),
        planar_png=report(
            out("figures/planar.png"),
            category="Experiment 3: planar laws",
            caption="../report/planar_figure.rst",
        ),
        failures_pdf=out("figures/failures.pdf"),
        failures_png=report(
            out("figures/failures.png"),
            category="Experiment 3: planar laws",
            caption="../report/planar_failures.rst",
        ),
    log:
        out("logs/plot_planar.log"),
    benchmark:
        out("benchmarks/plot_planar.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        fits=planar_methods(),
        labels={law: law.replace("_", " ") for law in CONFIG.learning.planar.laws},
        judged="cmfgen" if "cmfgen" in CONFIG.learning.methods else CONFIG.learning.methods[0],
        seeds=CONFIG.learning.seeds[:1],
        dpi=CONFIG.figures.dpi,
        fingerprint=digest("learning", "figures"),
    script:
        "../scripts/plot_planar.py"


rule plot_truth:
    input:
        scores=[
            out(f"metrics/learned/{family}_d{dimension}/{method}.csv") for family, dimension, method in truth_methods()
        ],
        code=code("plot_truth.py"),
    output:
        pdf=out("figures/truth.pdf"),
        png=report(
            out("figures/truth.png"),
            category="Experiment 7: exact truth",
            caption="../report/truth_figure.rst",
        ),
    log:
        out("logs/plot_truth.log"),
    benchmark:
        out("benchmarks/plot_truth.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        fits=truth_methods(),
        seeds=CONFIG.learning.seeds,
        dpi=CONFIG.figures.dpi,
        fingerprint=digest("learning", "figures"),
    script:
        "../scripts/plot_truth.py"


rule plot_density:
    input:
        panels=expand(out("metrics/density/{energy}/cmfma.npz"), energy=DENSITY_PANELS),
        scores=expand(out("metrics/density/{energy}/cmfma.csv"), energy=DENSITY_PANELS),
        code=code("plot_density.py"),
    output:
        pdf=out("figures/density.pdf"),
        png=report(
            out("figures/density.png"),
            category="Experiment 4: unnormalised densities",
            caption="../report/density_figure.rst",
        ),
    log:
        out("logs/plot_density.log"),
    benchmark:
        out("benchmarks/plot_density.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        labels=[ENERGIES[energy][0].replace("_", " ") for energy in DENSITY_PANELS],
        seeds=[density_seeds(energy)[0] for energy in DENSITY_PANELS],
        dpi=CONFIG.figures.dpi,
        fingerprint=digest("density", "figures"),
    script:
        "../scripts/plot_density.py"


rule plot_images:
    input:
        panels=lambda wildcards: [
            out(f"metrics/images/{wildcards.images}/{model}.npz") for model in IMAGE_MODELS[wildcards.images]
        ],
        code=code("plot_images.py"),
    output:
        images_pdf=out("figures/images-{images}.pdf"),
        images_png=report(
            out("figures/images-{images}.png"),
            category="Experiment 5: images",
            caption="../report/images_figure.rst",
        ),
        paths_pdf=out("figures/paths-{images}.pdf"),
        paths_png=report(
            out("figures/paths-{images}.png"),
            category="Experiment 5: images",
            caption="../report/paths_figure.rst",
        ),
    log:
        out("logs/plot_images/{images}.log"),
    benchmark:
        out("benchmarks/plot_images/{images}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        models=lambda wildcards: IMAGE_MODELS[wildcards.images],
        seeds=lambda wildcards: IMAGES[wildcards.images].seeds[:1],
        dpi=CONFIG.figures.dpi,
        fingerprint=images_digest(),
    script:
        "../scripts/plot_images.py"


rule plot_inpainting:
    input:
        panels=lambda wildcards: [
            out(f"metrics/inpainting/{wildcards.images}/{restorer}.npz") for restorer in RESTORERS
        ],
        code=code("plot_inpainting.py"),
    output:
        pdf=out("figures/inpainting-{images}.pdf"),
        png=report(
            out("figures/inpainting-{images}.png"),
            category="Experiment 6: inpainting",
            caption="../report/inpainting_figure.rst",
        ),
    log:
        out("logs/plot_inpainting/{images}.log"),
    benchmark:
        out("benchmarks/plot_inpainting/{images}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        restorers=RESTORERS,
        seeds=lambda wildcards: IMAGES[wildcards.images].seeds[:1],
        dpi=CONFIG.figures.dpi,
        fingerprint=images_digest("inpainting"),
    script:
        "../scripts/plot_inpainting.py"


rule plot_traces:
    input:
        traces=lambda wildcards: [
            out(f"fits/images/{wildcards.images}/{model}/seed{IMAGES[wildcards.images].seeds[0]}/trace.csv")
            for model in trained_models(wildcards.images)
        ],
        code=code("plot_traces.py"),
    output:
        pdf=out("figures/traces-{images}.pdf"),
        png=report(
            out("figures/traces-{images}.png"),
            category="Experiment 5: images",
            caption="../report/traces_figure.rst",
        ),
    log:
        out("logs/plot_traces/{images}.log"),
    benchmark:
        out("benchmarks/plot_traces/{images}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        models=lambda wildcards: trained_models(wildcards.images),
        seeds=lambda wildcards: IMAGES[wildcards.images].seeds[:1],
        dpi=CONFIG.figures.dpi,
        fingerprint=images_digest(),
    script:
        "../scripts/plot_traces.py"
