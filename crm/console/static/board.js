// Dragging a card to another column presses the button that its own form has for that stage.

const board = document.querySelector(".board");
let dragged = null;

const columnOf = (event) => event.target.closest?.(".column");

for (const card of board?.querySelectorAll(".card-item") ?? []) {
  card.draggable = card.querySelector("form") !== null;
}
board?.addEventListener("dragstart", (event) => {
  dragged = event.target.closest(".card-item");
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", dragged.id);
  dragged.classList.add("dragged");
});
board?.addEventListener("dragend", () => {
  dragged?.classList.remove("dragged");
  board.querySelector(".target")?.classList.remove("target");
  dragged = null;
});
board?.addEventListener("dragover", (event) => {
  const column = columnOf(event);
  if (!dragged || !column) return;
  event.preventDefault();
  board.querySelector(".target")?.classList.remove("target");
  if (column !== dragged.closest(".column")) column.classList.add("target");
});
board?.addEventListener("drop", (event) => {
  const column = columnOf(event);
  if (!dragged || !column) return;
  event.preventDefault();
  const stage = CSS.escape(column.dataset.stage);
  const button = dragged.querySelector(`button[name="stage"][value="${stage}"]`);
  if (!button) return;
  column.querySelector(".cards").prepend(dragged);
  dragged.setAttribute("aria-busy", "true");
  button.form.requestSubmit(button);
});

// An open menu closes when somebody goes on elsewhere, or presses Escape.
document.addEventListener("click", (event) => {
  for (const each of document.querySelectorAll(".move[open]")) {
    if (!each.contains(event.target)) each.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.activeElement?.closest(".move[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
