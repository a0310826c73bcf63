"use strict";
// Filters, sorting and copying of the tables. Without this script the page shows everything.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const words = (element) => element.textContent.replace(/\s+/g, " ").trim();
  const plain = (cell) => words(cell.querySelector(".value") || cell);

  // --- filters: a row stays when all fields agree; a table when a row of it stays
  const form = document.getElementById("filters");
  const sections = all("section.printed");
  const filter = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const text = wanted.text.trim().toLowerCase();
    let tables = 0, rows = 0;
    for (const section of sections) {
      const here = !wanted.document || section.dataset.document === wanted.document;
      const titled = words(section.querySelector("h3")).toLowerCase().includes(text);
      let shown = 0;
      for (const row of all("tr[data-statuses]", section)) {
        const has = (value, values) => !value || values.split(" ").includes(value);
        row.hidden = !(here && has(wanted.status, row.dataset.statuses)
          && has(wanted.dataset, row.dataset.datasets)
          && (titled || words(row).toLowerCase().includes(text)));
        shown += !row.hidden;
      }
      section.hidden = !shown;
      tables += Boolean(shown);
      rows += shown;
    }
    for (const group of all(".document")) {
      group.hidden = !all("section.printed", group).some((section) => !section.hidden);
    }
    form.querySelector("output").value = `${tables} of ${sections.length} tables, ${rows} rows`;
  };
  form.hidden = !sections.length;
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  addEventListener("hashchange", () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.closest("[hidden]")) form.reset();
  });
  form.addEventListener("submit", (event) => event.preventDefault());

  // --- sorting: by a column's numbers, where it has any; a third click gives the paper's order
  const key = (row, index) => {
    const text = row.cells[index] ? plain(row.cells[index]) : "";
    const number = parseFloat(text.replace("−", "-").replace(/,/g, ""));
    return { text, number };
  };
  const sort = (table, index, heading) => {
    const body = table.tBodies[0];
    const next = { none: "descending", descending: "ascending", ascending: "none" };
    const order = next[heading.getAttribute("aria-sort") || "none"];
    all("th[aria-sort]", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
    if (order !== "none") heading.setAttribute("aria-sort", order);
    const rows = all("tr", body).sort((a, b) => a.dataset.place - b.dataset.place);
    if (order !== "none") {
      const sign = order === "ascending" ? 1 : -1;
      rows.sort((a, b) => {
        const [one, other] = [key(a, index), key(b, index)];
        const [blank, blanks] = [Number.isNaN(one.number), Number.isNaN(other.number)];
        if (blank !== blanks) return blank - blanks;
        return sign * (blank ? one.text.localeCompare(other.text) : one.number - other.number);
      });
    }
    body.append(...rows);
  };
  const sortable = (table) => {
    all("tr", table.tBodies[0]).forEach((row, place) => { row.dataset.place = place; });
    all("th", table.tHead).forEach((heading, index) => {
      if (heading.classList.contains("wide")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...heading.childNodes);
      button.title = "sort by this column";
      heading.append(button);
      button.addEventListener("click", () => sort(table, index, heading));
    });
  };

  // --- copying: the rows in sight, as they are sorted
  const grid = (table) => {
    const kept = all("th", table.tHead).map((heading) => !heading.classList.contains("wide"));
    const line = (row) => [...row.cells].filter((_, index) => kept[index]).map((cell) => {
      const label = cell.cloneNode(true);
      all("code, .ci, [aria-hidden]", label).forEach((extra) => extra.remove());
      all("small", label).forEach((unit) => unit.prepend(" "));
      return plain(label);
    });
    return [table.tHead.rows[0], ...all("tbody tr", table).filter((row) => !row.hidden)].map(line);
  };
  const symbols = {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "$<$", ">": "$>$",
    "⊙": "$\\odot$", "✓": "$\\checkmark$", "×": "$\\times$", "–": "--",
  };
  const latex = (text) => text.replace(/[\\~^<>⊙✓×–&%$#_{}]/g, (one) => symbols[one] || `\\${one}`);
  const formats = {
    CSV: (rows) => rows.map((row) => row.map((text) =>
      /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text).join(",")).join("\n") + "\n",
    Markdown: (rows) => rows.map((row, index) => {
      const line = `| ${row.map((text) => text.replace(/[|\\*_`<>]/g, "\\$&")).join(" | ")} |`;
      return index ? line : `${line}\n|${row.map((_, c) => (c ? " ---: " : " --- ")).join("|")}|`;
    }).join("\n") + "\n",
    LaTeX: (rows) => {
      const lines = rows.map((row) => `${row.map(latex).join(" & ")} \\\\`);
      const [head, ...body] = lines;
      return [`\\begin{tabular}{l${"r".repeat(rows[0].length - 1)}}`, "\\toprule", head, "\\midrule",
        ...body, "\\bottomrule", "\\end{tabular}", ""].join("\n");
    },
  };
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  for (const section of sections) {
    const table = section.querySelector("table");
    sortable(table);
    const place = section.querySelector(".copies");
    place.hidden = false;
    for (const [name, format] of Object.entries(formats)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", async () => {
        await copy(format(grid(table)));
        button.textContent = "copied";
        setTimeout(() => { button.textContent = name; }, 1500);
      });
      place.append(" ", button);
    }
  }
  window.tdn = { grid, formats }; // what the tests read
})();
