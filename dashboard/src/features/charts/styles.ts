/** The stroke of each source in a chart, which distinguishes it without colour. */
import { placeOf, type Source } from "@/lib/sources";

const DASHES = ["none", "7 3", "2 3", "9 3 2 3", "12 4", "4 4", "1 3", "6 2 2 2 2 2"];

export const dashesOf = (source: Source): string => DASHES[placeOf(source) % DASHES.length] ?? "none";
