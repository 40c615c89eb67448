startNumbers();
startFigure();
place("figure-tasks").addEventListener("toggle", () => { if (place("figure-tasks").open) showPanels([chosen.model]); });
let drawnWidth = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === drawnWidth) return;
  drawnWidth = window.innerWidth;
  showFigure();
});

// On paper: every line, what is folded, every model.
const MOST_PRINTED = 1000;
let folded = [];
window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("main details:not([open])")];
  folded.forEach((details) => { details.open = true; });
  view.whole = count(rows) <= MOST_PRINTED;
  showNumbers();
  showFigure(PRINTED_WIDTH);
  showPanels(content.models.map((_, number) => number));
});
window.addEventListener("afterprint", () => {
  folded.forEach((details) => { details.open = false; });
  view.whole = false;
  showNumbers();
  showFigure();
});
document.documentElement.dataset.ready = "";
