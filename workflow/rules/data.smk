# One job draws every seed of a law: a job costs more than the draws.


rule draw_gaussian:
    input:
        code=code("draw_gaussian.py"),
    output:
        expand(out("data/gaussian/{{law}}/seed{seed}.npz"), seed=CONFIG.seeds),
    log:
        out("logs/draw_gaussian/{law}.log"),
    benchmark:
        out("benchmarks/draw_gaussian/{law}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        law=gaussian_law,
        fingerprint=digest("gaussian.laws.{law}", "samples", "seeds"),
        seeds=CONFIG.seeds,
        samples=CONFIG.samples,
    script:
        "../scripts/draw_gaussian.py"


rule draw_univariate:
    input:
        observations=observations,
        code=code("draw_univariate.py"),
    output:
        expand(out("data/univariate/{{law}}/seed{seed}.npz"), seed=CONFIG.seeds),
    log:
        out("logs/draw_univariate/{law}.log"),
    benchmark:
        out("benchmarks/draw_univariate/{law}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        law=univariate_law,
        fingerprint=digest("univariate.laws.{law}", "samples", "seeds"),
        seeds=CONFIG.seeds,
        samples=CONFIG.samples,
    script:
        "../scripts/draw_univariate.py"


rule draw_planar:
    input:
        code=code("draw_planar.py"),
    output:
        expand(out("data/learned/{{planar}}/seed{seed}.npz"), seed=CONFIG.learning.seeds),
    log:
        out("logs/draw_planar/{planar}.log"),
    benchmark:
        out("benchmarks/draw_planar/{planar}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        seeds=CONFIG.learning.seeds,
        samples=CONFIG.learning.planar.samples,
        fingerprint=lambda wildcards: draws_digest(wildcards.planar),
    script:
        "../scripts/draw_planar.py"


rule draw_truth:
    input:
        code=code("draw_truth.py"),
    output:
        expand(out("data/learned/{{truth}}/seed{seed}.npz"), seed=CONFIG.learning.seeds),
    log:
        out("logs/draw_truth/{truth}.log"),
    benchmark:
        out("benchmarks/draw_truth/{truth}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        truth=lambda wildcards: TRUTHS[wildcards.truth][:2],
        seeds=CONFIG.learning.seeds,
        samples=lambda wildcards: study(wildcards.truth).samples,
        fingerprint=lambda wildcards: draws_digest(wildcards.truth),
    script:
        "../scripts/draw_truth.py"


rule sample_posterior:
    input:
        code=code("sample_posterior.py"),
    output:
        chains=out("data/density/logistic.npz"),
    log:
        out("logs/sample_posterior.log"),
    benchmark:
        out("benchmarks/sample_posterior.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        fingerprint=digest(),
    script:
        "../scripts/sample_posterior.py"


rule draw_density:
    input:
        chains=posterior,
        code=code("draw_density.py"),
    output:
        draws=out("data/density/{energy}/seed{repetition}.npz"),
    log:
        out("logs/draw_density/{energy}/seed{repetition}.log"),
    benchmark:
        out("benchmarks/draw_density/{energy}/seed{repetition}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        law=lambda wildcards: ENERGIES[wildcards.energy][:2],
        points=CONFIG.density.points,
        fingerprint=digest("density.points"),
    script:
        "../scripts/draw_density.py"


rule draw_images:
    input:
        code=code("draw_images.py"),
    output:
        images=out("data/images/{images}/seed{repeat}.npz"),
    log:
        out("logs/draw_images/{images}/seed{repeat}.log"),
    benchmark:
        out("benchmarks/draw_images/{images}/seed{repeat}.tsv")
    priority: FIRST
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        samples=lambda wildcards: IMAGES[wildcards.images].samples,
        held_out=lambda wildcards: IMAGES[wildcards.images].held_out,
        fingerprint=images_digest(),
    script:
        "../scripts/draw_images.py"
