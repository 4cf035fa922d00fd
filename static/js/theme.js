// Loaded before anything is painted, so that a dark page never flashes white.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem("darwin.theme"); // "light", "dark" or nothing: as the system does
  const apply = () => {
    document.documentElement.dataset.bsTheme = chosen() ?? (system.matches ? "dark" : "light");
    document.dispatchEvent(new Event("darwin:theme"));
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-theme-toggle]")) return;
    localStorage.setItem("darwin.theme", document.documentElement.dataset.bsTheme === "dark" ? "light" : "dark");
    apply();
  });
})();
