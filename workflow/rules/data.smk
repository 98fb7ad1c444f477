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
        samples=CONFIG.learning.samples,
        fingerprint=digest("learning.samples", "learning.seeds"),
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
        samples=CONFIG.learning.samples,
        fingerprint=digest("learning.samples", "learning.seeds"),
    script:
        "../scripts/draw_truth.py"
