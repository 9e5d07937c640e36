/** Whose turn it is: round robin, and shares by weight. */
import t from 'tap';
import { FairShare, type Line, RoundRobin, Seat } from '../../../src/core/queue/turns.ts';
import type { Subscription } from '../../../src/core/subscription.ts';
import { Prng } from '../../../src/testing/prng.ts';

function seatOf(line: Line, name: string, weight = 1): Seat {
  return new Seat({ tag: name, weight } as Subscription, line);
}

/** Who has the next `count` turns. */
function turns(line: Line, count: number): string {
  let names = '';
  for (let n = 0; n < count; n++) {
    names += line.first?.subscription.tag ?? '-';
    if (line.first !== undefined) line.pass();
  }
  return names;
}

t.test('round robin: one after the other, newcomers last, those that leave are passed over', async (t) => {
  const line = new RoundRobin();
  t.equal(line.first, undefined);
  line.pass();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => seatOf(line, name)) as [Seat, Seat, Seat];
  line.enter(a);
  t.equal(turns(line, 2), 'aa');
  line.enter(b);
  line.enter(c);
  t.equal(turns(line, 7), 'abcabca');
  line.leave(b);
  t.equal(turns(line, 3), 'cac');
  line.enter(b);
  t.equal(turns(line, 4), 'acba', 'back as the last one');
  for (const seat of [a, b, c]) line.leave(seat);
  t.equal(turns(line, 1), '-');
});

t.test('fair share: weights are exact over a round, and spread over it', async (t) => {
  const line = new FairShare();
  for (const [name, weight] of [
    ['a', 4],
    ['b', 2],
    ['c', 1],
  ] as const) {
    line.enter(seatOf(line, name, weight));
  }
  t.equal(turns(line, 14), 'abacabaabacaba');
});

t.test('fair share: random weights, members and absences: shares exact, nothing saved up', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed);
    const line = new FairShare();
    const seats = Array.from({ length: prng.between(2, 30) }, (_, n) =>
      seatOf(line, String(n), prng.chance(0.3) ? 1 : prng.between(1, prng.chance(0.2) ? 1000 : 20)),
    );
    for (const seat of seats) line.enter(seat);
    const round = seats.reduce((sum, seat) => sum + seat.subscription.weight, 0);
    const count = (length: number): Map<Seat, number> => {
      const counts = new Map(seats.map((seat) => [seat, 0]));
      for (let n = 0; n < length; n++) {
        const seat = line.first as Seat;
        counts.set(seat, (counts.get(seat) as number) + 1);
        line.pass();
      }
      return counts;
    };
    for (const [seat, turns] of count(round)) t.equal(turns, seat.subscription.weight, `seed ${seed}: the first round`);
    // At any moment each has had its turns but for half a one, and so has the line but for half a one of each.
    const part = prng.between(1, round);
    for (const [seat, turns] of count(part)) {
      const { weight } = seat.subscription;
      const share = (part * weight) / round;
      const bound = 1 + ((seats.length / 2) * weight) / round;
      t.ok(Math.abs(turns - share) <= bound, `seed ${seed}: ${turns} turns of ${part}, and its share is ${share}`);
    }
    const away = seats.filter(() => prng.chance(0.5));
    for (const seat of away) line.leave(seat);
    if (away.length < seats.length) count(prng.between(1, 3 * round));
    for (const seat of away) line.enter(seat);
    count(prng.between(0, 5));
    for (const [seat, turns] of count(round)) {
      const { weight } = seat.subscription;
      t.ok(Math.abs(turns - weight) <= 1, `seed ${seed}: ${turns} turns of weight ${weight} after an absence`);
    }
  }
});
