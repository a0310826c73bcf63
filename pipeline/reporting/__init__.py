"""From metrics and claims to cells, tables and pages: reads results, computes no network.

results                     metrics, scores and costs of the rows; combine: of several rows as one
cells, build_tables         one number with its claim and status; a table of them
ordering, prose, rules      whether an order of rows, or a sentence, holds
writers                     a table as CSV, Markdown, LaTeX
build_report                index.html, from report_view (tables, data sets), prose_view (sentences)
                            and figures/figures_view (figures)
trace_pages                 trace/, from trace_items, which `tdn trace` shows too
anchors                     links between these pages
html_pages                  their templates and style sheet, in templates/
"""
