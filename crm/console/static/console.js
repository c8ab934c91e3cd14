// Parts of a page that renew themselves, and searching while typing. Everything works without.
//
// <form data-search="#id">      what is typed or chosen shows its results in #id, and the address
//                               says so
// <div id=… data-live="2000">   fetched again from this page's address every so many milliseconds,
//                               for as long as what comes back says so too
// <div id=… data-events="/…">   its parts are replaced by those of the same id that each event
//                               brings; where there are no events, data-live counts
// <p id=… role="status">        stays where it is and says what the fetched page says
// <button data-copy="#id">      copies what stands there

// On a phone the navigation is wider than the screen.
const entry = document.querySelector(".main-nav [aria-current]");
entry?.closest(".main-nav").scrollTo({ left: entry.offsetLeft - window.innerWidth / 3 });

// A notice, below those that stand there already.
const say = (sentence, kind) => {
  const note = document.createElement("p");
  note.className = `note note-${kind}`;
  note.textContent = sentence;
  document.querySelector(".notes").append(note);
  return note;
};

const questions = new Map();

// Show a part as an address has it now. Null where that is no page with such a part, undefined
// where somebody has asked again meanwhile.
const renew = async (id, address) => {
  const mine = (questions.get(id) ?? 0) + 1;
  questions.set(id, mine);
  // The header has the server keep its notices for the page that somebody opens.
  const headers = { "X-Renewal": "part" };
  const answer = await fetch(address, { credentials: "same-origin", headers });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  // Of answers that overtake each other, only that to the last question counts.
  if (mine !== questions.get(id)) return undefined;
  const fresh = page.getElementById(id);
  if (answer.redirected || !fresh) return null;
  document.getElementById(id).replaceWith(fresh);
  document.title = page.title;
  fresh.querySelectorAll("form[data-search]").forEach(searchWhileTyping);
  // A screen reader listens to the element that was there.
  for (const said of document.querySelectorAll("[role=status][id]")) {
    const news = page.getElementById(said.id)?.textContent ?? said.textContent;
    if (said.textContent !== news) said.textContent = news;
  }
  return fresh;
};

// A form that was sent has its answer coming, which another address would cut off.
let isSent = false;
window.addEventListener("submit", (event) => {
  if (!event.defaultPrevented && event.target.target !== "_blank") isSent = true;
});
window.addEventListener("pageshow", () => {
  isSent = false;
});

// Renew a part without being asked to; false where there is nothing to renew it with any more.
const renewByItself = async (id) => {
  const address = window.location.href;
  const fresh = await renew(id, address).catch(() => undefined);
  if (fresh !== null || isSent) return true;
  // Signed out, or an error that is a page; which takes no notice away that is to be read yet.
  if (document.querySelector(".notes").childElementCount === 0) window.location.assign(address);
  else say("This page renews itself no more. Load it again to see why.", "warning");
  return false;
};

const searchWhileTyping = (form) => {
  let waiting;
  const search = async () => {
    const target = document.querySelector(form.dataset.search);
    const query = [...new FormData(form)].filter(([, value]) => value !== "");
    const address = `${form.getAttribute("action")}?${new URLSearchParams(query)}`;
    target.setAttribute("aria-busy", "true");
    try {
      const fresh = await renew(target.id, address);
      // Signed out, or an error that is a page.
      if (fresh === null && !isSent) window.location.assign(address);
      if (fresh) window.history.replaceState(null, "", address);
    } catch {
      target.removeAttribute("aria-busy"); // Nobody answers; typing on asks.
    }
  };
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(search, event.target.type === "search" ? 200 : 0);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    search();
  });
};
document.querySelectorAll("form[data-search]").forEach(searchWhileTyping);

const keepLive = (id) => {
  const every = Number(document.getElementById(id)?.dataset.live);
  if (!every) return;
  setTimeout(async () => {
    const part = document.getElementById(id);
    const isRead = part.contains(document.activeElement);
    // Not while nobody looks, nor under the hands of somebody who is in it or searches it.
    const isFree = !document.hidden && !isRead && part.ariaBusy !== "true";
    if (!isFree || (await renewByItself(id))) keepLive(id);
  }, every);
};
const listen = (id) => {
  const source = new EventSource(document.getElementById(id).dataset.events);
  source.addEventListener("progress", (event) => {
    const news = new DOMParser().parseFromString(event.data, "text/html");
    for (const part of [...news.body.children]) document.getElementById(part.id)?.replaceWith(part);
  });
  source.addEventListener("end", async () => {
    source.close();
    if (await renewByItself(id)) keepLive(id); // Where nobody answered, or it began anew.
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) keepLive(id);
  });
};
for (const part of document.querySelectorAll("[data-live]")) {
  (part.dataset.events ? listen : keepLive)(part.id);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
