"use strict";
// Draws the timeline, and draws it again when the page turns dark or light, narrow or wide.
(() => {
  const read = (id) => document.getElementById(id).textContent;
  const place = document.getElementById("timeline");
  const swaps = JSON.parse(read("shades"));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 720px)");
  let views = null;

  const draw = async () => {
    let text = read("timeline-data");
    if (dark.matches) text = text.replace(/#[0-9a-f]{6}/g, (shade) => swaps[shade] ?? shade);
    if (narrow.matches) text = text.replace(/("field": ")wide_/g, "$1narrow_");
    const chart = JSON.parse(text);
    if (views) views.clear();
    place.replaceChildren();
    views = (await Bokeh.embed.embed_items({ timeline: chart.document },
      [{ docid: "timeline", roots: { [chart.root]: "timeline" }, root_ids: [chart.root] }]))[0];
    place.dataset.drawn = dark.matches ? "dark" : "light";
  };

  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
  draw();
})();
