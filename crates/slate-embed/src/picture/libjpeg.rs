//! JPEG by libjpeg-turbo (in MozJPEG's sources), the decoder of Pillow and torchvision: colours to the bit.
//!
//! Behind the cargo feature `libjpeg`, because it is C and pictures come from anywhere. A file has been
//! decoded once before it comes here, so what is broken or too large does not.

use mozjpeg::Decompress;

/// The colours of a JPEG of this size, `[height, width, 3]`; none for one that libjpeg does not turn into
/// red, green and blue, such as one of four inks.
pub(super) fn rgb(bytes: &[u8], width: u32, height: u32) -> Option<Vec<u8>> {
    // The library tells of errors by unwinding.
    let decoded = std::panic::catch_unwind(|| -> std::io::Result<Vec<[u8; 3]>> {
        let mut picture = Decompress::new_mem(bytes)?.rgb()?;
        let rows = picture.read_scanlines()?;
        picture.finish()?;
        Ok(rows)
    });
    let pixels = decoded.ok()?.ok()?;
    let expected = width as usize * height as usize;
    (pixels.len() == expected).then(|| pixels.concat())
}
