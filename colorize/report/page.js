"use strict";
// Draw the plots in the colors of the page, and toggle groups of curves.
const root = document.documentElement;
const probe = document.body.appendChild(Object.assign(document.createElement("i"), {hidden: true}));

function color(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

function themed(layout) {
  const [ink, soft, line, paper] = ["--ink", "--soft", "--line", "--paper"].map(color);
  const font = {family: getComputedStyle(document.body).fontFamily, size: 13, color: ink};
  const themed = {...layout, font, hoverlabel: {bgcolor: paper, bordercolor: line, font, align: "left"}};
  for (const name of ["xaxis", "yaxis"])
    themed[name] = {...layout[name], title: {...layout[name]?.title, standoff: 10, font: {...font, color: soft}}, gridcolor: line, zerolinecolor: line, linecolor: line, tickcolor: line,
                    tickfont: {color: soft, size: 12}, automargin: true};
  return themed;
}

function draw(plot) {
  const {data, layout} = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
  if (plot.classList.contains("curves"))
    for (const trace of data) trace.visible = shown(plot, trace.legendgroup);
  return Plotly.react(plot, data, themed(layout), {responsive: true, displayModeBar: false});
}

// of one data set; each has its own legend
const within = (element, selector) => [...element.closest(".data-set").querySelectorAll(selector)];

function shown(plot, group) {
  return within(plot, `[data-group="${group}"]`)[0].ariaPressed === "true";
}

const plots = [...document.querySelectorAll(".plot")];
const drawAll = () => Promise.all(plots.map(draw));

for (const button of document.querySelectorAll("[data-group]"))
  button.addEventListener("click", () => {
    button.ariaPressed = String(button.ariaPressed !== "true");
    within(button, ".curves").forEach(draw);
  });

for (const button of document.querySelectorAll("[data-all]"))
  button.addEventListener("click", () => {
    for (const one of within(button, "[data-group]")) one.ariaPressed = button.dataset.all;
    within(button, ".curves").forEach(draw);
  });

for (const select of document.querySelectorAll("[data-switches]"))
  select.addEventListener("change", () => {
    const plot = document.getElementById(select.dataset.switches);
    const chosen = [...document.querySelectorAll(`[data-switches="${plot.id}"]`)].map(one => one.value);
    plot.dataset.figure = chosen.join("-");
    for (const table of document.querySelectorAll(`[data-of="${plot.id}"]`))
      table.hidden = !chosen.includes(table.dataset.with);
    draw(plot);
  });

for (const button of document.querySelectorAll("[data-copy]"))
  button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } catch {  // not permitted by the browser: select the line, so that it can be copied with the keyboard
      getSelection().selectAllChildren(code);
    }
  });

const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", drawAll);
document.getElementById("theme").addEventListener("click", () => {
  const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  drawAll();
});

for (const select of document.querySelectorAll("[data-switches]")) select.selectedIndex = 0;  // discard the choice that the browser keeps on reload
drawAll().then(() => { root.dataset.drawn = "true"; });
