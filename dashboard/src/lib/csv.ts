/** CSV (RFC 4180): lines that a spreadsheet does not evaluate, and the rows of a file. */

/** How a cell begins that a spreadsheet evaluates (OWASP, "CSV Injection"). */
const FORMULA = /^[=+\-@\t\r]/;
const NUMBER = /^[+-]?\d+(\.\d+)?$/;

/** One line. A value that begins like a formula, and is no number, gets an apostrophe in front. */
export const csvLine = (values: readonly (string | number | null)[]): string => `${values.map(cell).join(",")}\n`;

const isFormula = (text: string): boolean => FORMULA.test(text) && !NUMBER.test(text);

function cell(value: string | number | null): string {
  const text = value === null ? "" : String(value);
  const inert = isFormula(text) ? `'${text}` : text;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

export interface CsvRow {
  /** The number of its first line. */
  line: number;
  values: string[];
}

/** A quoted value, in which two quotes are one, or another value; and what ends it. */
const VALUE = /(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r?\n|\r|$)/y;

/**
 * The rows of a file, without empty lines. A value loses the apostrophe that `csvLine` adds.
 *
 * @throws Error a quote is not closed, or stands within a value that is not quoted; the message names the line.
 */
export function csvRows(text: string): CsvRow[] {
  const rows: CsvRow[] = [];
  let row: CsvRow = { line: 1, values: [] };
  let line = 1;
  let end = ",";
  VALUE.lastIndex = text.startsWith("\uFEFF") ? 1 : 0;
  while (VALUE.lastIndex < text.length || end === ",") {
    const found = VALUE.exec(text);
    if (!found) throw new Error(`line ${line}: a quote is not closed, or stands within a value`);
    const [all, quoted, plain = ""] = found;
    row.values.push(plainText(quoted?.replaceAll('""', '"') ?? plain));
    line += all.match(/\r?\n|\r/g)?.length ?? 0;
    end = found[3] ?? "";
    if (end === ",") continue;
    if (row.values.length > 1 || row.values[0] !== "") rows.push(row);
    row = { line, values: [] };
  }
  return rows;
}

const plainText = (value: string): string =>
  value.startsWith("'") && isFormula(value.slice(1)) ? value.slice(1) : value;
