// The two ways in which a request can come to nothing.

// Nobody answered, or nobody who could help now: no network, no database, too busy, nonsense.
// The same request may well succeed later.
export class Unreachable extends Error {}

// The service understood the request and will not do it; asking again changes nothing.
export class Refused extends Error {
  constructor(status, detail) {
    super(detail)
    this.status = status
  }
}
