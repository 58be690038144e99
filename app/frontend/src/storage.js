// What the browser remembers from one visit to the next: the language and the theme.

export function recall(name) {
  try {
    return localStorage.getItem(name)
  } catch {
    return null // A browser that keeps nothing for us, such as in a sandboxed frame.
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(name, value)
  } catch (error) {
    console.info(`not remembered: ${error.message}`)
  }
}
