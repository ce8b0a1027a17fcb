// What this browser remembers for the page. It may be forbidden (a private window), full, or written by another version:
// then the page goes on without.

/** What was kept under a key; null where nothing is, or may be. */
export function remembered(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Returns whether it is kept. */
export function memorise(key: string, text: string): boolean {
  try {
    localStorage.setItem(key, text);
    return true;
  } catch {
    return false;
  }
}

/** A list or an object by key, as it was kept as JSON; `otherwise` where what is there is not of its sort. */
export function rememberedJson<Value extends object>(key: string, otherwise: Value): Value {
  try {
    const found = JSON.parse(remembered(key) ?? "null");
    const isOfSort = typeof found === "object" && found !== null && Array.isArray(found) === Array.isArray(otherwise);
    return isOfSort ? found : otherwise;
  } catch {
    return otherwise;
  }
}
