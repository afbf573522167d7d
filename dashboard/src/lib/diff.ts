/** The difference between two texts, line by line. */

export interface DiffLine {
  kind: "same" | "removed" | "added";
  text: string;
}

/** The lines of both texts: a longest common subsequence stays, the others are removed or added. */
export function diffOf(before: string, after: string): DiffLine[] {
  const [one, other] = [linesOf(before), linesOf(after)];
  const lengths = commonLengths(one, other);
  const at = (row: number, column: number): number => lengths[row]?.[column] ?? 0;
  const lines: DiffLine[] = [];
  let [row, column] = [0, 0];
  while (row < one.length || column < other.length) {
    const [removed, added] = [one[row], other[column]];
    if (removed !== undefined && removed === added) {
      lines.push({ kind: "same", text: removed });
      row += 1;
      column += 1;
    } else if (removed !== undefined && (added === undefined || at(row + 1, column) >= at(row, column + 1))) {
      lines.push({ kind: "removed", text: removed });
      row += 1;
    } else {
      lines.push({ kind: "added", text: added ?? "" });
      column += 1;
    }
  }
  return lines;
}

/** An empty text has no line: all of the other one is added or removed. */
const linesOf = (text: string): string[] => (text === "" ? [] : text.split("\n"));

/** By place in both texts, how many lines the rests have in common. */
function commonLengths(one: readonly string[], other: readonly string[]): Uint32Array[] {
  const lengths = Array.from({ length: one.length + 1 }, () => new Uint32Array(other.length + 1));
  for (let row = one.length - 1; row >= 0; row -= 1) {
    const [here, below] = [lengths[row], lengths[row + 1]];
    if (!here || !below) continue;
    for (let column = other.length - 1; column >= 0; column -= 1) {
      here[column] =
        one[row] === other[column]
          ? (below[column + 1] ?? 0) + 1
          : Math.max(below[column] ?? 0, here[column + 1] ?? 0);
    }
  }
  return lengths;
}
