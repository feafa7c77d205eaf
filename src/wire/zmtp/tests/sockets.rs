//! What sockets do with messages.

use super::super::SocketType;
use super::super::rig::talk;
use super::{client, server};

#[test]
fn all_types_that_go_together_shake_hands_and_no_others() {
    for ours in SocketType::ALL {
        for theirs in SocketType::ALL {
            let (mut one, mut other) = (server(ours), client(theirs));
            talk(&mut one, &mut other);
            let fits = ours.goes_with(theirs);
            assert_eq!(one.is_ready(), fits, "{theirs} to {ours}");
            assert_eq!(other.is_ready(), fits, "{theirs} to {ours}");
        }
    }
}
