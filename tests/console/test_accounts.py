"""Sign up, sign in and sign out, in a browser."""

import re

import pytest
from playwright.sync_api import expect

from crm.accounts import demo
from tests.conftest import PASSWORD
from tests.console.conftest import on_a_phone


def fill_in_sign_in(visitor, password=PASSWORD):
    page = visitor.go("/console/sign-in")
    page.get_by_label("E-mail").fill("admin@example.com")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    return page


def test_a_stranger_makes_an_account_and_sees_the_overview(visitor):
    page = visitor.go("/")
    page.get_by_role("link", name="Make an account").click()
    visitor.check_accessibility()
    page.get_by_label("First name").fill("Ada")
    page.get_by_label("Last name").fill("Lovelace")
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()

    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("Welcome")
    visitor.check_accessibility()


def test_somebody_signs_in_with_the_keyboard_and_out_again(admin, visitor):
    page = visitor.go("/console/sign-in")
    visitor.check_accessibility()
    page.get_by_label("E-mail").focus()
    page.keyboard.type(admin)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("status")).to_contain_text("You are signed out")
    page.goto(visitor.address)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@on_a_phone
def test_a_wrong_password_is_explained_and_the_address_kept(admin, visitor):
    page = fill_in_sign_in(visitor, password="a wrong password")

    expect(page.get_by_role("alert")).to_contain_text("No account has this e-mail and password")
    expect(page.get_by_label("E-mail")).to_have_value(admin)
    visitor.check_accessibility()


@on_a_phone
def test_what_is_left_out_is_named_at_its_field(visitor):
    page = visitor.go("/console/sign-up")
    page.get_by_label("E-mail").fill("nobody")
    page.get_by_role("button", name="Make the account").click()

    expect(page.get_by_label("First name")).to_have_accessible_description("Please fill this in.")
    expect(page.get_by_label("E-mail")).to_have_accessible_description(re.compile("not look like"))
    visitor.check_accessibility()


def test_who_tries_too_often_is_told_how_long_to_wait(make_app, serve, open_browser):
    # Of a minute's limit the next minute knows nothing, and it may begin meanwhile.
    visitor = open_browser(address=serve(make_app(RATE_LIMIT_SIGN_IN="1 per 1 day")))
    # Whoever goes on before the answer has perhaps not asked.
    expect(fill_in_sign_in(visitor).get_by_role("alert")).to_be_visible()

    page = fill_in_sign_in(visitor)

    expect(page.get_by_role("heading", name="One moment, please")).to_be_visible()
    expect(page.locator("main")).to_contain_text(re.compile(r"Wait \d+ seconds"))
    visitor.check_accessibility()


@on_a_phone
def test_an_address_that_is_nowhere_is_a_page_in_the_browser(visitor):
    page = visitor.go("/nowhere")

    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    visitor.check_accessibility()


def test_after_the_sign_in_comes_the_page_that_was_asked_for(admin, open_browser):
    visitor = open_browser()
    page = visitor.go("/?period=week")
    page.get_by_label("E-mail").fill(admin)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    expect(page).to_have_url(f"{visitor.address}/?period=week")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_light_or_dark_as_the_machine_is(admin, open_browser, scheme):
    visitor = open_browser()
    visitor.page.emulate_media(color_scheme=scheme)
    page = visitor.sign_in()

    expect(page.locator("html")).to_have_attribute("data-bs-theme", scheme)
    visitor.check_accessibility()


def test_the_demo_account_signs_in_at_a_browser_under_open_access_alone(app, visitor, open_access):
    demo.open_demo()

    def sign_in():
        page = visitor.go("/console/sign-in")
        page.get_by_label("E-mail").fill(demo.DEMO_EMAIL)
        page.get_by_label("Password").fill(demo.DEMO_PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        return page

    expect(sign_in().get_by_role("heading", name="Overview")).to_be_visible()
    app.extensions["crm_open_access"] = False
    # The session has ended with it, and no other begins.
    expect(sign_in().get_by_role("alert")).to_contain_text("No account has this e-mail")
