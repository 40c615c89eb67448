startNumbers();
startFigure();
place("figure-tasks").addEventListener("toggle", () => { if (place("figure-tasks").open) showPanels(); });
let drawnWidth = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === drawnWidth) return;
  drawnWidth = window.innerWidth;
  showFigure();
});
document.documentElement.dataset.ready = "";
