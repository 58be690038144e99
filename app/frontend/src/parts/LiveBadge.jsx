// A badge as others see it. It is asked for anew whenever `value` is another: of an image that it has
// a browser does not ask again, and the service looks at nothing that it does not know. While the
// value is null, there is nothing to ask for.
export function LiveBadge({ url, value, alt }) {
  if (value === null) return <span className="badge" />
  const src = value === undefined ? url : `${url}&now=${value}`
  return <img className="badge" src={src} alt={alt} data-testid="badge" />
}
