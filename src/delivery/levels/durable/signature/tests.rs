use super::*;

#[test]
fn the_specifications_example_is_reproduced() {
    // From the Standard Webhooks specification's reference libraries.
    let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let signature = sign(
        std::slice::from_ref(&secret),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
    );
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let both = sign(&[secret.clone(), secret], "a", 1, b"");
    assert_eq!(both.split(' ').count(), 2);
}
