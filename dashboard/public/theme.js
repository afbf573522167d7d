// Sets the stored theme before the first paint, so that the other theme never flashes; src/state/theme.ts stores it.
try {
  const theme = localStorage.getItem("helios-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the page uses the theme of the system.
}
