//! One to three peers over the least machine: written scenarios, and long runs of chance.
mod net;
mod random;
mod register;
mod scenarios;
