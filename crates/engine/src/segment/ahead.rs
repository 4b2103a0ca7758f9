//! Memory that will be needed soon, asked for before it is.
//!
//! Lines ask for random places of tables that no cache holds. One line at a time, each look-up waits
//! for memory; some lines at a time, they wait together.

/// Lines that are looked at together.
pub(crate) const LINES_AT_ONCE: usize = 32;
/// Bytes that come with one request.
const CACHE_LINE_BYTES: usize = 64;
/// Longest stretch that is asked for; what follows comes by itself.
const STRETCH_BYTES_MAX: usize = 512;

/// Asks for a value.
#[inline(always)]
pub(crate) fn fetch<T>(values: &[T], at: usize) {
    if let Some(value) = values.get(at) {
        fetch_from(value);
    }
}

/// Asks for a stretch of bytes.
#[inline(always)]
pub(crate) fn fetch_bytes(bytes: &[u8]) {
    let stretch = &bytes[..bytes.len().min(STRETCH_BYTES_MAX)];
    for line in stretch.chunks(CACHE_LINE_BYTES) {
        fetch_from(&line[0]);
    }
    if let Some(last) = stretch.last() {
        fetch_from(last);
    }
}

#[inline(always)]
fn fetch_from<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing; the address is that of a live value.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
