// What a header may be, apart from the schemas: the HTTP client needs this, and not the schemas' library.

/** RFC 9110, 5.6.2 */
export const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
/** RFC 9110, 5.5: no line ends, and nothing that two servers would read differently */
export const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
