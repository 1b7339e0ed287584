/** A random integer in 0 ... n - 1 that nobody can foretell. */
function draw(n) {
  const most = Math.floor(2 ** 32 / n) * n;
  for (;;) {
    const value = crypto.getRandomValues(new Uint32Array(1))[0];
    if (value < most) return value % n;
  }
}

function shuffled(items) {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const k = draw(i + 1);
    [result[i], result[k]] = [result[k], result[i]];
  }
  return result;
}

/** Chance of at least `correct` of `total` by guessing. */
function guessing(correct, total) {
  let term = 0.5 ** total, sum = 0;
  for (let k = 0; k <= total; k++) {
    if (k >= correct) sum += term;
    term = term * (total - k) / (k + 1);
  }
  return Math.min(1, sum);
}

const listener = Array.from(
  crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");

/** A button that saves what a test gave: the same file, however often it is pressed. */
function saver(kind, page, trials) {
  const result = {
    format: "codec-listening", version: 1, kind, report: page.report, listener,
    finished: new Date().toISOString(), trials,
  };
  return make("button", { type: "button", class: "main save", onclick: () => save(result) }, "Save the result");
}

function save(result) {
  const text = JSON.stringify(result, null, 1);
  const link = make("a", {
    href: URL.createObjectURL(new Blob([text], { type: "application/json" })),
    download: `listening-${result.kind}-${result.listener}.json`,
  });
  document.body.append(link);
  link.click();
  link.remove();
}

function options(select, names) {
  select.replaceChildren(...names.map((name, i) => make("option", { value: i }, name)));
}

function abx(place, page) {
  const rounds = 10;
  const clip = make("select", { "aria-label": "Clip" });
  const pair = [make("select", { "aria-label": "A" }), make("select", { "aria-label": "B" })];
  const desk = make("div", { class: "desk" });
  options(clip, page.clips.map((c) => c.name));
  const offer = () => {
    const names = page.clips[Number(clip.value)].conditions.map((c) => c.name);
    pair.forEach((select, i) => { options(select, names); select.value = i ? names.length - 1 : 0; });
  };
  clip.addEventListener("change", offer);
  offer();
  const begin = make("button", { type: "button", class: "main begin", onclick: () => start() }, "Begin");
  place.append(
    make("p", { class: "soft" }, `X is A or B, chosen at random ${rounds} times. The result is shown at the end. Keys: a, b, x, space.`),
    make("div", { class: "row" }, clip, "A", pair[0], "B", pair[1], begin), desk,
  );

  function start() {
    const of = page.clips[Number(clip.value)];
    const [a, b] = pair.map((select) => of.conditions[Number(select.value)]);
    if (a === b) {
      desk.replaceChildren(make("p", { class: "said" }, "Choose two different versions."));
      return;
    }
    trial(of, a, b, []);
  }

  function trial(of, a, b, trials) {
    const isA = draw(2) === 0;
    const ensemble = new Ensemble([a, b, isA ? a : b], true);
    ensemble.loop = true;
    const choose = (i) => { ensemble.choose(i); group.show(i); ensemble.play(); };
    const group = radios("What is heard", [["A"], ["B"], ["X"]], choose);
    const answer = (saysA) => {
      ensemble.stop();
      const done = [...trials, { clip: of.name, a: a.name, b: b.name, x: isA ? "a" : "b", answer: saysA ? "a" : "b" }];
      if (done.length < rounds) trial(of, a, b, done);
      else finish(done);
    };
    const controls = transport(ensemble, of.seconds, () => {});
    const board = make("div", {},
      make("p", { class: "said", "aria-live": "polite" }, `Round ${trials.length + 1} of ${rounds}`), group, controls,
      make("div", { class: "row" },
        make("button", { type: "button", class: "answer-a", onclick: () => answer(true) }, "X is A"),
        make("button", { type: "button", class: "answer-b", onclick: () => answer(false) }, "X is B")),
    );
    keys(board, ensemble, choose, 3, "abx");
    desk.replaceChildren(board);
    group.firstChild.focus({ preventScroll: true });
  }

  function finish(trials) {
    const correct = trials.filter((t) => t.x === t.answer).length;
    const chance = guessing(correct, trials.length);
    desk.replaceChildren(
      make("p", { class: "said", "aria-live": "polite" },
        `${correct} of ${trials.length} right. Guessing does as well with probability ${chance.toFixed(3)}.`),
      make("div", { class: "row" }, saver("abx", page, trials)),
    );
  }
}

function mushra(place, page) {
  const desk = make("div", { class: "desk" });
  const begin = make("button", { type: "button", class: "main begin", onclick: () => {
    trial(shuffled(page.clips), 0, []);
  } }, "Begin");
  place.append(
    make("p", { class: "soft" }, "Rate each version against the original, which is also hidden among them: 100 means no difference. Keys: o, 1–9, space."),
    make("div", { class: "row" }, begin), desk,
  );

  function trial(clips, number, trials) {
    const clip = clips[number];
    const hidden = shuffled(clip.conditions);
    const ensemble = new Ensemble([clip.conditions[0], ...hidden], true);
    ensemble.loop = true;
    const rated = new Set();
    const choose = (i) => { ensemble.choose(i); group.show(i); ensemble.play(); };
    const group = radios("What is heard", [["original"], ...hidden.map((_, i) => [`${i + 1}`])], choose);
    const next = make("button", { type: "button", class: "main next", disabled: "", onclick: () => {
      ensemble.stop();
      const ratings = hidden.map((c, i) => ({ condition: c.name, rating: Number(sliders[i].value) }));
      const done = [...trials, { clip: clip.name, ratings }];
      if (number + 1 < clips.length) trial(clips, number + 1, done);
      else finish(done);
    } }, number + 1 < clips.length ? "Next clip" : "Finish");
    const sliders = hidden.map((_, i) => make("input", {
      type: "range", min: 0, max: 100, value: 50, "aria-label": `Rating of ${i + 1}`,
      oninput: () => {
        rated.add(i);
        numbers[i].textContent = sliders[i].value;
        next.disabled = rated.size < hidden.length;
      },
      onfocus: () => choose(i + 1),
    }));
    const numbers = hidden.map(() => make("output", {}, "–"));
    const board = make("div", {},
      make("p", { class: "said", "aria-live": "polite" }, `Clip ${number + 1} of ${clips.length}`), group,
      transport(ensemble, clip.seconds, () => {}),
      make("div", { class: "scale" }, ...["bad", "poor", "fair", "good", "excellent"].map((w) => make("span", {}, w))),
      ...hidden.map((_, i) => make("div", { class: "slider" },
        make("button", { type: "button", onclick: () => choose(i + 1) }, `${i + 1}`), sliders[i], numbers[i])),
      make("div", { class: "row" }, next),
    );
    keys(board, ensemble, choose, hidden.length + 1);
    desk.replaceChildren(board);
    group.firstChild.focus({ preventScroll: true });
  }

  function finish(trials) {
    desk.replaceChildren(
      make("p", { class: "said", "aria-live": "polite" }, `Thank you: ${trials.length} clips rated.`),
      make("div", { class: "row" }, saver("mushra", page, trials)),
    );
  }
}
