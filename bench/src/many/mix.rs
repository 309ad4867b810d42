//! Whose turn it is.

use crate::{cells::Subject, http::request};

/// How requests spread over tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// All equally often.
    Uniform,
    /// The k-th most active takes 1/k of what the first one takes.
    Zipf,
    /// One takes every second request, the others share the rest equally.
    Hot,
}

impl Mix {
    /// Requests from which drawing evenly gives this mix.
    pub(crate) fn requests(self, slugs: &[&str], token: &str) -> Vec<Vec<u8>> {
        let mut requests = Vec::new();
        for (slug, times) in slugs.iter().zip(self.times(slugs.len())) {
            for subject in [Subject::Whoami, Subject::List] {
                let bytes = request("GET", subject.path(), Some(token), &[("x-org-id", slug)], "");
                requests.extend(std::iter::repeat_n(bytes, times));
            }
        }
        requests
    }

    /// How often each of so many tenants is drawn. Ranks are scattered, so that the active ones are not all neighbours.
    fn times(self, count: usize) -> Vec<usize> {
        match self {
            Self::Uniform => vec![1; count],
            Self::Hot => (0..count)
                .map(|index| if index == 0 { count.saturating_sub(1).max(1) } else { 1 })
                .collect(),
            Self::Zipf => {
                let stride = (count * 618 / 1000..count.max(2))
                    .find(|stride| gcd(*stride, count) == 1)
                    .unwrap_or(1);
                let mut times = vec![1; count];
                for rank in 0..count {
                    times[rank * stride % count] = (count / (rank + 1)).max(1);
                }
                times
            }
        }
    }
}

const fn gcd(one: usize, other: usize) -> usize {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenant_has_its_turn_and_the_first_ones_more() {
        for count in [2, 20, 2000] {
            assert_eq!(Mix::Uniform.times(count).iter().sum::<usize>(), count);
            let hot = Mix::Hot.times(count);
            assert_eq!(hot[0], hot[1..].iter().sum::<usize>());
            let mut zipf = Mix::Zipf.times(count);
            zipf.sort_unstable_by(|one, other| other.cmp(one));
            assert_eq!((zipf[0], zipf[1], *zipf.last().unwrap()), (count, count / 2, 1));
        }
    }
}
