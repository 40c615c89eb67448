// Dark, light, or as the system has it.
const THEMES = ["system", "dark", "light"];
const themeButton = place("theme");
const remembered = () => { try { return localStorage.getItem("harness-report-theme"); } catch { return null; } };
const remember = (theme) => { try { localStorage.setItem("harness-report-theme", theme); } catch { /* not kept */ } };

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeButton.textContent = `◐ ${theme}`;
  themeButton.setAttribute("aria-label", `Theme: ${theme}`);
}
themeButton.hidden = false;
themeButton.addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || "system";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  setTheme(next);
  remember(next);
});
setTheme(THEMES.includes(remembered()) ? remembered() : "system");
