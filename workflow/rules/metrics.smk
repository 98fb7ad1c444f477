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
