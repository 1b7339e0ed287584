const page = JSON.parse(document.getElementById("data").textContent);
const TITLES = { pesq_wb: "PESQ", stoi: "STOI", visqol: "ViSQOL", mel: "mel distance" };

function player(clip) {
  const ensemble = new Ensemble(clip.conditions, false);
  const choose = (i) => { ensemble.choose(i); show(i); };
  const group = radios(`What is heard of ${clip.name}`, clip.conditions.map((c) => [
    c.name, make("small", {}, c.kbps === null ? "\u00a0" : `${c.kbps} kbit/s`),
  ]), choose);
  const heads = [make("div", { class: "head" }), make("div", { class: "head" })];
  const images = [0, 1].map(() => make("img", { alt: "" }));
  const captions = [0, 1].map(() => make("figcaption", {}));
  const figures = [0, 1].map((i) => make("figure", {}, make("div", {
    class: "picture",
    onclick: (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      ensemble.seek((event.clientX - box.left) / box.width * clip.seconds);
    },
  }, images[i], heads[i]), captions[i]));
  const values = make("div", { class: "values", "aria-live": "polite" });
  const show = (i) => {
    const chosen = clip.conditions[i];
    group.show(i);
    [clip.conditions[0], chosen].forEach((condition, k) => {
      images[k].src = condition.picture;
      images[k].alt = `Spectrogram of ${condition.name}`;
      captions[k].textContent = condition.name;
    });
    values.textContent = Object.entries(chosen.values)
      .map(([name, value]) => `${TITLES[name]} ${value}`).join(" · ");
  };
  const controls = transport(ensemble, clip.seconds, (at) => {
    for (const head of heads) head.style.left = `${100 * at / clip.seconds}%`;
  });
  const element = make("section", { class: "clip", tabindex: 0, "aria-label": `Player of ${clip.name}` },
    make("h3", {}, clip.name, " ", make("span", { class: "soft" }, clip.kind)),
    make("div", { class: "pictures" }, ...figures), controls, group, values);
  keys(element, ensemble, choose, clip.conditions.length);
  show(0);
  element.ensemble = ensemble;
  return element;
}

function sortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return up ? order : -order;
    });
    body.append(...rows);
  }));
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("button.kind").forEach((button) => button.addEventListener("click", () => {
  document.querySelectorAll("button.kind").forEach((other) =>
    other.setAttribute("aria-pressed", String(other === button)));
  document.querySelectorAll(".of-kind").forEach((element) => {
    element.hidden = element.dataset.kind !== button.dataset.kind;
  });
}));
if (page.clips && page.clips.length) {
  document.getElementById("players").append(...page.clips.map(player));
  abx(document.getElementById("abx"), page);
  mushra(document.getElementById("mushra"), page);
}
