/** Lines of CSV (RFC 4180) that a spreadsheet does not evaluate. */

/** How a cell begins that a spreadsheet evaluates (OWASP, "CSV Injection"). */
const FORMULA = /^[=+\-@\t\r]/;
const NUMBER = /^[+-]?\d+(\.\d+)?$/;

/** One line. A value that begins like a formula, and is no number, gets an apostrophe in front. */
export const csvLine = (values: readonly (string | number | null)[]): string => `${values.map(cell).join(",")}\n`;

function cell(value: string | number | null): string {
  const text = value === null ? "" : String(value);
  const inert = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}
