// Picture browser: all methods side by side, sorted by score, searched by name and category.
(() => {
  const source = document.getElementById("pictures-data");
  if (!source) return;
  const {columns, directions, values, images} = JSON.parse(source.textContent);
  const [form, cards, more, found] = ["browse", "cards", "more", "found"].map(id => document.getElementById(id));
  const PAGE = 12;  // images per page
  let order = [], shown = 0;

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  function picture(at, column, [thumb, link, why]) {
    const address = why ? null : thumb ?? link;
    const label = `${images[at].name}, ${columns[column]}`;
    let shown = element("span", {className: "nothing", textContent: why || "no picture"});
    if (address) {
      shown = element("img", {src: address, alt: label, loading: "lazy"});
      shown.addEventListener("error", () => {  // the file is missing, or its format is not supported by the browser
        shown.replaceWith(element("span", {className: "nothing", textContent: "cannot be shown here"}));
      });
    }
    return link ? element("a", {href: link, target: "_blank", rel: "noopener", ariaLabel: label}, shown) : shown;
  }

  function card(at) {
    const image = images[at], metric = form.metric.value;
    const head = element("h3", {textContent: image.name});
    if (image.categories.length) head.append(element("small", {textContent: image.categories.join(", ")}));
    if (!image.scored) head.append(element("span", {className: "badge", textContent: "not scored"}));
    const figures = image.cells.map((cell, column) => {
      const value = column && metric ? values[metric][column - 1][at] : null;
      const caption = element("figcaption", {}, element("span", {textContent: columns[column]}));
      if (value !== null) caption.append(" ", element("b", {textContent: value.toPrecision(3)}));
      return element("figure", {}, picture(at, column, cell), caption);
    });
    return element("li", {}, head, element("div", {className: "row"}, ...figures));
  }

  function show() {
    cards.append(...order.slice(shown, shown + PAGE).map(card));
    shown = Math.min(shown + PAGE, order.length);
    more.hidden = shown === order.length;
    found.textContent = `${shown} of ${order.length} shown` + (order.length < images.length ? `, of ${images.length} in all` : "");
  }

  function update() {
    const metric = form.metric.value, words = form.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const category = form.category?.value ?? "";
    const [worst, best] = form.order.options;
    [worst.textContent, best.textContent] =
      !metric ? ["A to Z", "Z to A"] : directions[metric] ? ["worst first", "best first"] : ["lowest first", "highest first"];
    form.method.disabled = !metric;
    const wanted = ({name, categories}) =>
      (!category || categories.includes(category)) &&
      words.every(word => [name, ...categories].some(text => text.toLowerCase().includes(word)));
    order = [...images.keys()].filter(at => wanted(images[at]));
    const lowFirst = (form.order.value === "worst") !== (metric && directions[metric] === "↓");
    if (metric) {
      const of = values[metric][form.method.value] ?? [];
      const sign = lowFirst ? 1 : -1;
      order.sort((a, b) => ((of[a] ?? null) === null) - ((of[b] ?? null) === null) || sign * (of[a] - of[b]));
    } else if (form.order.value === "best") order.reverse();
    cards.replaceChildren();
    shown = 0;
    show();
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", event => event.preventDefault());
  more.addEventListener("click", show);
  form.reset();  // discard the choices that the browser keeps on reload
  update();
})();
