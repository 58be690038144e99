// What the browser remembers from one visit to the next: the language, the theme, and the admin
// keys that it was asked to keep.

export function recall(name) {
  try {
    return localStorage.getItem(name)
  } catch {
    return null // A browser that keeps nothing for us, such as in a sandboxed frame.
  }
}

// Whether it is remembered now.
export function remember(name, value) {
  try {
    localStorage.setItem(name, value)
    return true
  } catch (error) {
    console.info(`not remembered: ${error.message}`)
    return false
  }
}
