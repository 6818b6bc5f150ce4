//! The verifier's pass over a statement, which the prover repeats to learn the linear forms.
//!
//! A [`Replay`] consumes clear messages, draws the challenges, and collects what the statement
//! produces: constraints, products, columns and claims (section 6 of the document).

use crate::field::{Fq, invert_all};
use crate::forms::{Form, Tape};
use crate::poly::eq_table;
use crate::transcript::Transcript;

/// How many messages a statement has and which of them are multiplied, known from shapes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Messages, those of the opening included.
    pub messages: usize,
    /// Pairs of message numbers.
    pub products: Vec<(usize, usize)>,
}

impl Plan {
    /// Length of the pad row: a pad per message, one per product, the mask.
    pub fn pads(&self) -> usize {
        self.messages + self.products.len() + 1
    }
}

/// `coefficient · <row, column>`
#[derive(Clone, Copy)]
pub struct Entry {
    /// Number of the column.
    pub column: usize,
    /// Global number of the row.
    pub row: usize,
    /// Public factor.
    pub coefficient: Fq,
}

/// The sum of the entries is the value of the form.
pub struct Claim {
    /// The left side.
    pub entries: Vec<Entry>,
    /// The right side.
    pub value: Form,
}

/// A message the prover sent: its number and its form.
#[derive(Clone, Copy)]
pub struct Message {
    /// Number of the message.
    pub number: usize,
    /// The form of its value.
    pub form: Form,
}

/// State of a pass over a statement.
pub struct Replay<'a> {
    /// The transcript so far.
    pub transcript: Transcript,
    /// The record of forms.
    pub tape: Tape,
    /// The clear messages, at least up to the next one.
    pub clear: Vec<Fq>,
    /// Constraints, in order.
    pub constraints: Vec<Form>,
    /// Claims, in order.
    pub claims: Vec<Claim>,
    /// Columns, in order; `2^log_columns` long.
    pub columns: Vec<Vec<Fq>>,
    plan: &'a Plan,
    log_columns: usize,
    next_message: usize,
    next_product: usize,
}

impl<'a> Replay<'a> {
    /// Starts after the public values, auxiliary rows and pad row were absorbed.
    pub fn new(transcript: Transcript, plan: &'a Plan, log_columns: usize, clear: Vec<Fq>) -> Self {
        Self {
            transcript,
            tape: Tape::new(plan.pads()),
            clear,
            constraints: Vec::new(),
            claims: Vec::new(),
            columns: Vec::new(),
            plan,
            log_columns,
            next_message: 0,
            next_product: 0,
        }
    }

    /// Draws a challenge.
    pub fn challenge(&mut self) -> Fq {
        self.transcript.challenge()
    }

    /// The next message: absorbed and turned into its form.
    pub fn message(&mut self) -> Message {
        let number = self.next_message;
        self.next_message += 1;
        let clear = self.clear[number];
        self.transcript.scalar(b"msg", clear);
        let form = self.tape.pads(clear, &[(number, -Fq::ONE)]);
        Message { number, form }
    }

    /// The product of two messages; the next one of the plan.
    pub fn product(&mut self, a: Message, b: Message) -> Form {
        debug_assert_eq!(self.plan.products[self.next_product], (a.number, b.number));
        let pad = self.plan.messages + self.next_product;
        self.next_product += 1;
        let (x, y) = (self.clear[a.number], self.clear[b.number]);
        self.tape
            .pads(x * y, &[(b.number, -x), (a.number, -y), (pad, Fq::ONE)])
    }

    /// A plain sumcheck; returns the last claim and the point.
    pub fn sumcheck(&mut self, claim: Form, rounds: usize) -> (Form, Vec<Fq>) {
        let mut last = claim;
        let mut point = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let (g0, g2) = (self.message().form, self.message().form);
            let r = self.challenge();
            // g(1) = claim - g(0)
            let [at0, at1, at2] = interpolation(r);
            last = self
                .tape
                .combine(Fq::ZERO, &[(last, at1), (g0, at0 - at1), (g2, at2)]);
            point.push(r);
        }
        (last, point)
    }

    /// A zero-check at `point`, with the eq factor outside; returns the last claim and the point.
    pub fn zero_check(&mut self, claim: Form, point: &[Fq]) -> (Form, Vec<Fq>) {
        let mut last = claim;
        let mut bound = Vec::with_capacity(point.len());
        for (coordinate, inverse) in point.iter().zip(invert_all(point)) {
            let (g0, g2) = (self.message().form, self.message().form);
            let r = self.challenge();
            // g(1) = (claim - (1 - coordinate) g(0)) / coordinate
            let [at0, at1, at2] = interpolation(r);
            let high = at1 * inverse;
            last = self.tape.combine(
                Fq::ZERO,
                &[
                    (last, high),
                    (g0, at0 - high * (Fq::ONE - *coordinate)),
                    (g2, at2),
                ],
            );
            bound.push(r);
        }
        (last, bound)
    }

    /// Adds `Σ coefficient · form = 0`.
    pub fn constrain(&mut self, parts: &[(Form, Fq)]) {
        let form = self.tape.combine(Fq::ZERO, parts);
        self.constraints.push(form);
    }

    /// Adds a claim.
    pub fn claim(&mut self, entries: Vec<Entry>, value: Form) {
        self.claims.push(Claim { entries, value });
    }

    /// Adds a column, padded with zeros.
    pub fn column(&mut self, mut column: Vec<Fq>) -> usize {
        column.resize(1 << self.log_columns, Fq::ZERO);
        self.columns.push(column);
        self.columns.len() - 1
    }

    /// `Σ_{k,h} eq(point)[k] · across[h] · slab[k · |across| + h]` for slabs that start at `bases`
    /// and hold `count` true `k`; `masked` leaves the others out.
    pub fn tensor(
        &mut self,
        bases: &[(usize, Fq)],
        count: usize,
        point: &[Fq],
        across: &[Fq],
        masked: bool,
    ) -> Vec<Entry> {
        let per_row = (1 << self.log_columns) / across.len();
        let inner = per_row.trailing_zeros() as usize;
        if point.len() < inner {
            let limit = if masked { count } else { usize::MAX };
            let column = self.column(outer(&eq_table(point), across, limit));
            return bases
                .iter()
                .map(|&(row, coefficient)| Entry {
                    column,
                    row,
                    coefficient,
                })
                .collect();
        }
        let (high, low) = point.split_at(point.len() - inner);
        let (high, low) = (eq_table(high), eq_table(low));
        let full = if masked {
            count / per_row
        } else {
            count.div_ceil(per_row)
        };
        let mut entries = Vec::with_capacity(bases.len() * (full + 1));
        if full > 0 {
            let column = self.column(outer(&low, across, usize::MAX));
            for &(base, factor) in bases {
                entries.extend(high[..full].iter().enumerate().map(|(i, weight)| Entry {
                    column,
                    row: base + i,
                    coefficient: factor * *weight,
                }));
            }
        }
        if masked && !count.is_multiple_of(per_row) {
            let column = self.column(outer(&low, across, count % per_row));
            entries.extend(bases.iter().map(|&(base, factor)| Entry {
                column,
                row: base + full,
                coefficient: factor * high[full],
            }));
        }
        entries
    }

    /// Whether exactly the planned messages and products were consumed.
    pub fn is_complete(&self) -> bool {
        self.next_message == self.plan.messages && self.next_product == self.plan.products.len()
    }
}

/// Weights of `g(0), g(1), g(2)` in `g(r)` for `g` of degree 2.
pub fn interpolation(r: Fq) -> [Fq; 3] {
    let two = Fq::from_u64(2);
    let half = HALF.with(|half| *half);
    [
        (r - Fq::ONE) * (r - two) * half,
        r * (two - r),
        r * (r - Fq::ONE) * half,
    ]
}

thread_local! {
    static HALF: Fq = Fq::from_u64(2).invert();
}

/// The entries moved from one slab to another of the same width, with a factor.
pub fn shifted(
    entries: &[Entry],
    from: usize,
    to: usize,
    factor: Fq,
) -> impl Iterator<Item = Entry> + '_ {
    entries.iter().map(move |entry| Entry {
        column: entry.column,
        row: entry.row - from + to,
        coefficient: entry.coefficient * factor,
    })
}

fn outer(along: &[Fq], across: &[Fq], limit: usize) -> Vec<Fq> {
    along
        .iter()
        .take(limit)
        .flat_map(|a| across.iter().map(|b| *a * *b))
        .collect()
}
