# One job makes both factorisations of a law: starting it costs more than solving them.


rule fit_gaussian:
    input:
        code=code("fit_gaussian.py"),
    output:
        fits=expand(
            out("fits/gaussian/{{law}}/{factorization}/fit.npz"),
            factorization=FACTORIZATIONS,
        ),
    log:
        out("logs/fit_gaussian/{law}.log"),
    benchmark:
        out("benchmarks/fit_gaussian/{law}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        factorizations=FACTORIZATIONS,
        law=gaussian_law,
        fingerprint=digest("gaussian.laws.{law}"),
    script:
        "../scripts/fit_gaussian.py"


rule fit_gaussian_scales:
    input:
        code=code("fit_gaussian_scales.py"),
    output:
        sweep=out("fits/gaussian/scales.csv"),
    log:
        out("logs/fit_gaussian_scales.log"),
    benchmark:
        out("benchmarks/fit_gaussian_scales.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        scales=CONFIG.gaussian.scales.values().tolist(),
        fingerprint=digest("gaussian.scales"),
        factorizations=FACTORIZATIONS,
    script:
        "../scripts/fit_gaussian_scales.py"


rule fit_univariate:
    input:
        observations=observations,
        code=code("fit_univariate.py"),
    output:
        fits=expand(
            out("fits/univariate/{{law}}/{factorization}/fit.npz"),
            factorization=FACTORIZATIONS,
        ),
        traces=expand(
            out("fits/univariate/{{law}}/{factorization}/trace.csv"),
            factorization=FACTORIZATIONS,
        ),
    log:
        out("logs/fit_univariate/{law}.log"),
    benchmark:
        out("benchmarks/fit_univariate/{law}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        factorizations=FACTORIZATIONS,
        law=univariate_law,
        fingerprint=digest(*solved(["{law}"])),
        tolerance=CONFIG.univariate.tolerance,
        max_iterations=CONFIG.univariate.max_iterations,
    script:
        "../scripts/fit_univariate.py"


rule fit_spread:
    input:
        observations=observations,
        code=code("fit_spread.py"),
    output:
        sweeps=expand(
            out("fits/spread/{{law}}/{factorization}.csv"),
            factorization=FACTORIZATIONS,
        ),
    log:
        out("logs/fit_spread/{law}.log"),
    benchmark:
        out("benchmarks/fit_spread/{law}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        factorizations=FACTORIZATIONS,
        law=univariate_law,
        scales=CONFIG.spread.scales.values().tolist(),
        fingerprint=digest(
            "univariate.laws.{law}", "spread.scales", "univariate.tolerance", "univariate.max_iterations"
        ),
        tolerance=CONFIG.univariate.tolerance,
        max_iterations=CONFIG.univariate.max_iterations,
    script:
        "../scripts/fit_spread.py"


rule fit_learned:
    input:
        draws=out("data/learned/{learned}/seed{seed}.npz"),
        code=code("fit_learned.py"),
    output:
        fit=out("fits/learned/{learned}/{method}/seed{seed}/fit.npz"),
        trace=out("fits/learned/{learned}/{method}/seed{seed}/trace.csv"),
    log:
        out("logs/fit_learned/{learned}/{method}/seed{seed}.log"),
    benchmark:
        out("benchmarks/fit_learned/{learned}/{method}/seed{seed}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=720,
        gpu=int(PLATFORMS != "cpu"),
    params:
        training=training,
        checkpoint=out("checkpoints/{learned}/{method}/seed{seed}.npz"),
        fingerprint=learned_digest,
    script:
        "../scripts/fit_learned.py"


rule fit_density:
    input:
        code=code("fit_density.py"),
    output:
        fit=out("fits/density/{energy}/{fitted}/seed{repetition}/fit.npz"),
        trace=out("fits/density/{energy}/{fitted}/seed{repetition}/trace.csv"),
        effort=out("fits/density/{energy}/{fitted}/seed{repetition}/effort.csv"),
    log:
        out("logs/fit_density/{energy}/{fitted}/seed{repetition}.log"),
    benchmark:
        out("benchmarks/fit_density/{energy}/{fitted}/seed{repetition}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=720,
        gpu=int(PLATFORMS != "cpu"),
    params:
        law=lambda wildcards: ENERGIES[wildcards.energy][:2],
        training=lambda wildcards: ENERGIES[wildcards.energy][2].training,
        checkpoint=out("checkpoints/{energy}/{fitted}/seed{repetition}.npz"),
        fingerprint=density_digest,
    script:
        "../scripts/fit_density.py"


# Samplers are given as many evaluations of the density as CMFMA used, with the same seed.
rule sample_density:
    input:
        budget=out("fits/density/{energy}/cmfma/seed{repetition}/effort.csv"),
        code=code("sample_density.py"),
    output:
        sample=out("fits/density/{energy}/{sampler}/seed{repetition}/sample.npz"),
        effort=out("fits/density/{energy}/{sampler}/seed{repetition}/effort.csv"),
    log:
        out("logs/sample_density/{energy}/{sampler}/seed{repetition}.log"),
    benchmark:
        out("benchmarks/sample_density/{energy}/{sampler}/seed{repetition}.tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        law=lambda wildcards: ENERGIES[wildcards.energy][:2],
        fingerprint=density_digest,
    script:
        "../scripts/sample_density.py"


rule fit_images:
    input:
        images=out("data/images/{images}/seed{repeat}.npz"),
        code=code("fit_images.py"),
    output:
        fit=out("fits/images/{images}/{trained}/seed{repeat}/fit.npz"),
        trace=out("fits/images/{images}/{trained}/seed{repeat}/trace.csv"),
    log:
        out("logs/fit_images/{images}/{trained}/seed{repeat}.log"),
    benchmark:
        out("benchmarks/fit_images/{images}/{trained}/seed{repeat}.tsv")
    priority: FIRST
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=720,
        gpu=int(PLATFORMS != "cpu"),
    params:
        training=image_training,
        checkpoint=out("checkpoints/images/{images}/{trained}/seed{repeat}.npz"),
        fingerprint=images_digest(),
    script:
        "../scripts/fit_images.py"
