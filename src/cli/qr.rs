//! Short texts as pictures for another machine's camera.

use super::exit::{Exit, Failure, OrExit};

/// A QR code, drawn in half blocks; several lines.
pub(super) fn code(text: &[u8]) -> Result<String, Failure> {
    let code = qrcode::QrCode::new(text).or_exit(Exit::Failed)?;
    // Scanners want dark on light, and most terminals are the other way round.
    let image = code
        .render::<qrcode::render::unicode::Dense1x2>()
        .dark_color(qrcode::render::unicode::Dense1x2::Light)
        .light_color(qrcode::render::unicode::Dense1x2::Dark)
        .build();
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_is_drawn_in_text() {
        for text in [&b"kjpq4zcxv2mn7d3wtayhs6rgbe"[..], &[b'A'; 44]] {
            let code = code(text).unwrap();
            assert!(code.lines().count() > 10 && code.lines().count() < 30);
        }
    }
}
