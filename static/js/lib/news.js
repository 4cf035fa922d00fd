// Tells a page when to read again. A socket is a hint; the page polls while there is none.

const SHORTEST = 500; // ms before the first new try
const LONGEST = 15_000;
const POLL = 3_000; // while the socket is down
const SAFETY = 30_000; // while it is up: what a dropped message costs at most

/**
 * Calls `read(frame)` for every piece of news of `path` ("/ws/news/…"), and `read(null)`, "read everything", after
 * every (re)connect and while no socket can be had. A frame is {event, kinds?, variants?, trials?, experiments?}.
 * What a model says while it is asked comes several times a second, and only to pages that show it (`thoughts`).
 */
export function listen(path, read, { thoughts = false } = {}) {
  let tries = 0;
  let poll = null;
  const every = (ms) => {
    clearInterval(poll);
    poll = setInterval(() => document.hidden || read(null), ms);
  };
  const open = () => {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
    socket.addEventListener("open", () => {
      tries = 0;
      document.documentElement.dataset.socket = "open";
      every(SAFETY);
      read(null);
    });
    socket.addEventListener("message", (message) => {
      const frame = JSON.parse(message.data);
      if (thoughts || frame.kinds?.some((kind) => kind !== "thought")) read(frame);
    });
    socket.addEventListener("close", () => {
      document.documentElement.dataset.socket = "closed";
      if (tries === 0) every(POLL);
      const pause = Math.min(LONGEST, SHORTEST * 2 ** tries++);
      setTimeout(open, pause * (0.75 + Math.random() / 2));
    });
  };
  document.addEventListener("visibilitychange", () => document.hidden || read(null));
  open();
}

/** `work` at once, then at most every `ms`; calls in between become one, after the pause and never beside itself. */
export function calmly(ms, work) {
  let running = false;
  let again = false;
  return async function call() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await work();
    } catch (error) {
      console.warn("could not read the news:", error.message); // the next news or poll tries again
    }
    setTimeout(() => {
      running = false;
      if (again) {
        again = false;
        call();
      }
    }, ms);
  };
}

/** The JSON at `url`; an expired session leads to the login. */
export async function getJson(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  if (answer.redirected) location.reload();
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer.json();
}
