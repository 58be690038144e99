// Gives the browser a file to save.
export function download(blob, name) {
  const url = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  // Not at once: some browsers begin to read only after this.
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}
