export function mapAllows(_mapType: number, _helperId: number): boolean { return true; }
