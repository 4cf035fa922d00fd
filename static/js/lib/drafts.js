// What somebody wrote and has not sent yet, kept in this browser until it is sent or discarded.

const PREFIX = "darwin.draft:";
const LONGEST_DAYS = 30;

/** The kept files {path: text} of `key`, or nothing when they belong to another state of the proposal (`shown`). */
export function keptDraft(key, shown) {
  const kept = read(PREFIX + key);
  return kept && kept.shown === shown ? kept.files : {};
}

/** The kept files of `key`, whatever they were written on. */
export const anyDraft = (key) => read(PREFIX + key)?.files ?? {};

export function keepDraft(key, shown, files) {
  if (!Object.keys(files).length) return dropDraft(key);
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify({ shown, files, at: Date.now() }));
  } catch (error) {
    console.warn("the draft could not be kept:", error.message); // storage is full or switched off
  }
}

export const dropDraft = (key) => localStorage.removeItem(PREFIX + key);

/** Forget drafts that nobody came back to. */
export function forgetOld() {
  for (const name of Object.keys(localStorage)) {
    const kept = name.startsWith(PREFIX) && read(name);
    if (kept && Date.now() - kept.at > LONGEST_DAYS * 86_400_000) localStorage.removeItem(name);
  }
}

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}
