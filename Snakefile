from snakemake.utils import min_version

min_version("9.9")


# Beside a file that is given, not even read: Snakemake would merge the two, in the jobs of a cluster whatever it is told.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/fits.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"


rule all:
    default_target: True
    input:
        tables(),
        figures(),
