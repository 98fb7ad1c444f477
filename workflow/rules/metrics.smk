rule score_gaussian:
    input:
        fits=expand(
            out("fits/gaussian/{{law}}/{factorization}/fit.npz"),
            factorization=FACTORIZATIONS,
        ),
        draws=expand(out("data/gaussian/{{law}}/seed{seed}.npz"), seed=CONFIG.seeds),
        code=code("score_gaussian.py"),
    output:
        scores=out("metrics/gaussian/{law}.csv"),
    log:
        out("logs/score_gaussian/{law}.log"),
    benchmark:
        out("benchmarks/score_gaussian/{law}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        seeds=CONFIG.seeds,
        fingerprint=digest("gaussian.laws.{law}", "samples", "seeds"),
    script:
        "../scripts/score_gaussian.py"


rule score_univariate:
    input:
        observations=observations,
        fits=expand(
            out("fits/univariate/{{law}}/{factorization}/fit.npz"),
            factorization=FACTORIZATIONS,
        ),
        draws=expand(out("data/univariate/{{law}}/seed{seed}.npz"), seed=CONFIG.seeds),
        code=code("score_univariate.py"),
    output:
        scores=out("metrics/univariate/{law}.csv"),
        profile=out("metrics/univariate/{law}.npz"),
    log:
        out("logs/score_univariate/{law}.log"),
    benchmark:
        out("benchmarks/score_univariate/{law}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        law=univariate_law,
        seeds=CONFIG.seeds,
        fingerprint=digest(
            "univariate.laws.{law}", "univariate.tolerance", "univariate.max_iterations", "samples", "seeds"
        ),
    script:
        "../scripts/score_univariate.py"


rule score_spread:
    input:
        sweeps=expand(
            out("fits/spread/{{law}}/{factorization}.csv"),
            factorization=FACTORIZATIONS,
        ),
        code=code("score_spread.py"),
    output:
        scores=out("metrics/spread/{law}.csv"),
    log:
        out("logs/score_spread/{law}.log"),
    benchmark:
        out("benchmarks/score_spread/{law}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        factorizations=FACTORIZATIONS,
        fingerprint=digest(
            "univariate.laws.{law}", "spread.scales", "univariate.tolerance", "univariate.max_iterations"
        ),
    script:
        "../scripts/score_spread.py"


rule floor_planar:
    input:
        code=code("floor_planar.py"),
    output:
        floors=out("metrics/learned/{planar}/floors.csv"),
    log:
        out("logs/floor_planar/{planar}.log"),
    benchmark:
        out("benchmarks/floor_planar/{planar}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        seeds=CONFIG.learning.seeds,
        points=CONFIG.learning.points,
        epsilon=CONFIG.learning.epsilon,
        fingerprint=digest("learning.seeds", "learning.points", "learning.epsilon"),
    script:
        "../scripts/floor_planar.py"


rule score_learned:
    input:
        fits=learned_fits,
        floors=floors,
        code=code("score_learned.py"),
    output:
        scores=out("metrics/learned/{learned}/{method}.csv"),
        draws=out("metrics/learned/{learned}/{method}.npz"),
    log:
        out("logs/score_learned/{learned}/{method}.log"),
    benchmark:
        out("benchmarks/score_learned/{learned}/{method}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        truth=known_truth,
        seeds=CONFIG.learning.seeds,
        points=CONFIG.learning.points,
        epsilon=CONFIG.learning.epsilon,
        fingerprint=learned_digest,
    script:
        "../scripts/score_learned.py"


rule floor_density:
    input:
        draws=true_draws,
        code=code("floor_density.py"),
    output:
        floors=out("metrics/density/{energy}/floors.csv"),
    log:
        out("logs/floor_density/{energy}.log"),
    benchmark:
        out("benchmarks/floor_density/{energy}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        seeds=lambda wildcards: density_seeds(wildcards.energy),
        epsilon_share=CONFIG.density.epsilon_share,
        fingerprint=digest("density.points", "density.epsilon_share"),
    script:
        "../scripts/floor_density.py"


rule score_density:
    input:
        runs=density_runs,
        efforts=density_efforts,
        draws=true_draws,
        floors=out("metrics/density/{energy}/floors.csv"),
        code=code("score_density.py"),
    output:
        scores=out("metrics/density/{energy}/{approach}.csv"),
        panel=out("metrics/density/{energy}/{approach}.npz"),
    log:
        out("logs/score_density/{energy}/{approach}.log"),
    benchmark:
        out("benchmarks/score_density/{energy}/{approach}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        law=lambda wildcards: ENERGIES[wildcards.energy][:2],
        seeds=lambda wildcards: density_seeds(wildcards.energy),
        points=CONFIG.density.points,
        epsilon_share=CONFIG.density.epsilon_share,
        fingerprint=density_digest,
    script:
        "../scripts/score_density.py"


rule floor_images:
    input:
        images=image_files,
        code=code("floor_images.py"),
    output:
        floors=out("metrics/images/{images}/floors.csv"),
    log:
        out("logs/floor_images/{images}.log"),
    benchmark:
        out("benchmarks/floor_images/{images}.tsv")
    priority: FIRST
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        seeds=lambda wildcards: IMAGES[wildcards.images].seeds,
        epsilon_share=CONFIG.images.epsilon_share,
        fingerprint=images_digest("epsilon_share"),
    script:
        "../scripts/floor_images.py"


rule score_images:
    input:
        fits=image_fits("model"),
        images=image_files,
        floors=out("metrics/images/{images}/floors.csv"),
        code=code("score_images.py"),
    output:
        scores=out("metrics/images/{images}/{model}.csv"),
        panel=out("metrics/images/{images}/{model}.npz"),
    log:
        out("logs/score_images/{images}/{model}.log"),
    benchmark:
        out("benchmarks/score_images/{images}/{model}.tsv")
    priority: FIRST
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        seeds=lambda wildcards: IMAGES[wildcards.images].seeds,
        epsilon_share=CONFIG.images.epsilon_share,
        fingerprint=images_digest("epsilon_share"),
    script:
        "../scripts/score_images.py"


rule score_inpainting:
    input:
        fits=image_fits("restorer"),
        images=image_files,
        code=code("score_inpainting.py"),
    output:
        scores=out("metrics/inpainting/{images}/{restorer}.csv"),
        panel=out("metrics/inpainting/{images}/{restorer}.npz"),
    log:
        out("logs/score_inpainting/{images}/{restorer}.log"),
    benchmark:
        out("benchmarks/score_inpainting/{images}/{restorer}.tsv")
    priority: FIRST
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        seeds=lambda wildcards: IMAGES[wildcards.images].seeds,
        inpainting=CONFIG.images.inpainting,
        fingerprint=images_digest("inpainting"),
    script:
        "../scripts/score_inpainting.py"
