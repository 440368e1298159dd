//! Nodes and their children.

use alloc::vec::IntoIter;
use core::fmt;

/// The names of a node's children as UTF-8, in the order of their bytes; knows its length.
#[derive(Clone)]
pub struct Children<'a> {
    names: IntoIter<&'a [u8]>,
}

impl<'a> Iterator for Children<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.names.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.names.size_hint()
    }
}

impl ExactSizeIterator for Children<'_> {}

impl fmt::Debug for Children<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
