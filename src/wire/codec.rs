//! One reader and one writer for little-endian layouts of fixed size.
//!
//! Both work at fixed offsets, the way the layout tables are written, and a field outside its
//! layout does not compile. So reading has no error: any bytes give values, and what the values
//! mean is decided by who asked for them.
//!
//! ```
//! use moonport::wire::codec::{Reader, Writer};
//!
//! let mut layout = Writer::<8>::new();
//! layout.u16::<0>(17).text::<2, 6>("hello, world");
//! let bytes = layout.finish();
//! assert_eq!(bytes, *b"\x11\0hello\0");
//! assert_eq!(Reader::new(&bytes).text::<2, 6>(), "hello");
//! ```

/// Reads fields of a layout of `N` bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a, const N: usize>(&'a [u8; N]);

/// Writes fields of a layout of `N` bytes; what is not written is zero.
#[derive(Debug, Clone, Copy)]
pub struct Writer<const N: usize>([u8; N]);

macro_rules! reads {
    ($($number:ident)*) => {$(
        #[doc = concat!("The `", stringify!($number), "` at `AT`.")]
        pub fn $number<const AT: usize>(&self) -> $number {
            $number::from_le_bytes(self.bytes::<AT, { size_of::<$number>() }>())
        }
    )*};
}

macro_rules! writes {
    ($($number:ident)*) => {$(
        #[doc = concat!("Puts an `", stringify!($number), "` at `AT`.")]
        pub fn $number<const AT: usize>(&mut self, value: $number) -> &mut Self {
            self.bytes::<AT, { size_of::<$number>() }>(&value.to_le_bytes())
        }
    )*};
}

impl<'a, const N: usize> Reader<'a, N> {
    /// Reads from these bytes.
    pub fn new(bytes: &'a [u8; N]) -> Self {
        Self(bytes)
    }

    reads! { u8 i8 u16 i16 u32 i32 u64 }

    /// The `LEN` bytes at `AT`.
    pub fn bytes<const AT: usize, const LEN: usize>(&self) -> [u8; LEN] {
        *self.field::<AT, LEN>()
    }

    /// The flag at `AT`: any byte but zero is true.
    pub fn bool<const AT: usize>(&self) -> bool {
        self.u8::<AT>() != 0
    }

    /// The `f32` at `AT`; 0 if it is no number or infinite, so that nobody has to ask again.
    pub fn f32<const AT: usize>(&self) -> f32 {
        finite(f32::from_le_bytes(self.bytes::<AT, 4>()))
    }

    /// The bytes of the text field of `SIZE` bytes at `AT`: up to the first NUL, and never the
    /// last byte, which belongs to the NUL.
    pub fn terminated<const AT: usize, const SIZE: usize>(&self) -> &'a [u8] {
        let field = self.field::<AT, SIZE>();
        let text = field.split_last().map_or(&field[..0], |(_, text)| text);
        text.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// The same as text; empty if it is not UTF-8.
    pub fn text<const AT: usize, const SIZE: usize>(&self) -> String {
        let bytes = self.terminated::<AT, SIZE>();
        std::str::from_utf8(bytes).unwrap_or_default().to_owned()
    }

    fn field<const AT: usize, const LEN: usize>(&self) -> &'a [u8; LEN] {
        const { assert!(AT + LEN <= N, "the field lies outside its layout") };
        match self.0[AT..].first_chunk() {
            Some(field) => field,
            None => &[0; LEN],
        }
    }
}

impl<const N: usize> Writer<N> {
    /// Starts with zeros.
    pub fn new() -> Self {
        Self([0; N])
    }

    writes! { u8 i8 u16 i16 u32 i32 u64 }

    /// Puts bytes at `AT`.
    pub fn bytes<const AT: usize, const LEN: usize>(&mut self, value: &[u8; LEN]) -> &mut Self {
        const { assert!(AT + LEN <= N, "the field lies outside its layout") };
        self.0[AT..AT + LEN].copy_from_slice(value);
        self
    }

    /// Puts a flag at `AT`.
    pub fn bool<const AT: usize>(&mut self, value: bool) -> &mut Self {
        self.u8::<AT>(value.into())
    }

    /// Puts an `f32` at `AT`; 0 in place of what is no number or infinite.
    pub fn f32<const AT: usize>(&mut self, value: f32) -> &mut Self {
        self.bytes::<AT, 4>(&finite(value).to_le_bytes())
    }

    /// Puts a text into the field of `SIZE` bytes at `AT`, cut at its first NUL and, between two
    /// characters, to what leaves room for the NUL after it.
    pub fn text<const AT: usize, const SIZE: usize>(&mut self, value: &str) -> &mut Self {
        let end = value.find('\0').unwrap_or(value.len()).min(SIZE - 1);
        let (value, _) = value.split_at(value.floor_char_boundary(end));
        self.terminated::<AT, SIZE>(value.as_bytes())
    }

    /// Puts bytes into the text field of `SIZE` bytes at `AT`, as many as leave room for the NUL.
    pub fn terminated<const AT: usize, const SIZE: usize>(&mut self, value: &[u8]) -> &mut Self {
        const { assert!(SIZE > 0, "a text field has room for its NUL") };
        let mut field = [0; SIZE];
        for (to, from) in field[..SIZE - 1].iter_mut().zip(value) {
            *to = *from;
        }
        self.bytes::<AT, SIZE>(&field)
    }

    /// The layout.
    pub fn finish(self) -> [u8; N] {
        self.0
    }
}

impl<const N: usize> Default for Writer<N> {
    fn default() -> Self {
        Self::new()
    }
}

fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_little_endian() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 0xff];
        let layout = Reader::new(&bytes);
        assert_eq!(layout.u16::<1>(), 0x0302);
        assert_eq!(layout.u32::<1>(), 0x0504_0302);
        assert_eq!(layout.u64::<0>(), 0x0807_0605_0403_0201);
        assert_eq!(layout.i8::<8>(), -1);
    }

    #[test]
    fn a_text_ends_at_its_nul_or_one_before_the_end() {
        assert_eq!(Reader::new(b"ab\0cd").text::<0, 5>(), "ab");
        assert_eq!(Reader::new(b"abcde").text::<0, 5>(), "abcd");
        assert_eq!(Reader::new(b"\0bcde").text::<0, 5>(), "");
    }

    #[test]
    fn a_text_that_is_no_utf8_is_empty() {
        assert_eq!(Reader::new(b"ab\xffd\0").text::<0, 5>(), "");
        // Cut in the middle of a character.
        assert_eq!(Reader::new(b"abc\xc3\xa5").text::<0, 5>(), "");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let mut layout = Writer::<5>::new();
        layout.text::<0, 5>("abcå");
        assert_eq!(layout.finish(), *b"abc\0\0");
    }

    #[test]
    fn numbers_that_are_none_read_as_zero() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(Reader::new(&odd.to_le_bytes()).f32::<0>(), 0.0);
            assert_eq!(Writer::<4>::new().f32::<0>(odd).finish(), [0; 4]);
        }
    }

    proptest! {
        #[test]
        fn a_text_comes_back_up_to_what_fits(text: String) {
            let mut layout = Writer::<16>::new();
            layout.text::<0, 16>(&text);
            let back = Reader::new(&layout.finish()).text::<0, 16>();
            prop_assert!(text.starts_with(&back));
            if text.len() < 16 && !text.contains('\0') {
                prop_assert_eq!(back, text);
            }
        }

        #[test]
        fn any_bytes_are_a_text(bytes: [u8; 16]) {
            let text = Reader::new(&bytes).text::<0, 16>();
            prop_assert!(text.len() < 16);
        }
    }
}
