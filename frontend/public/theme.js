// Runs before the first paint, so that a chosen theme does not flash. A file of its own: the
// Content-Security-Policy allows no inline script.
try {
  const theme = localStorage.getItem('genkan-theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // storage is blocked: the system's theme
}
