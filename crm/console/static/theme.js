// Light or dark, as the person has set their machine. In the head, so that no page flashes.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => {
  document.documentElement.dataset.bsTheme = dark.matches ? "dark" : "light";
};
follow();
document.documentElement.classList.add("with-script");
dark.addEventListener("change", follow);
