//! PREDICT in whole queries, run in one process with a model that adds up its inputs: each query must give the rows that the
//! same query gives with the addition written out, and score no row that it need not.

#[cfg(test)]
mod guards;
#[cfg(test)]
mod harness;
mod known;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod shapes;
