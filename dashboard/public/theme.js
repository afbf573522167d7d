// Before the first paint, so that a chosen theme never flashes in the other one; src/state/theme.ts writes it.
try {
  const theme = localStorage.getItem("helios-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system's theme it is.
}
