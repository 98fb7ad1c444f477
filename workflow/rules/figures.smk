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
