/** All words of the app. English is the table; every other language must have its keys. */
const en = {
  'app.skip': 'Skip to content',
  'app.tagline': 'the entrance',
  'app.themeDark': 'Use the dark theme',
  'app.themeLight': 'Use the light theme',
  'app.footer': 'Tokens stay on the server. This browser holds one cookie that no script can read.',
  'app.leaving': 'Taking you to sign in…',
  'nav.label': 'Pages',
  'nav.home': 'Home',
  'nav.profile': 'Profile',
  'nav.api': 'API',

  'action.signIn': 'Sign in',
  'action.signInWith': 'Sign in with {name}',
  'action.signInAgain': 'Sign in again',
  'action.signOut': 'Sign out',
  'action.renew': 'Renew now',
  'action.stay': 'Stay signed in',
  'action.retry': 'Try again',
  'action.home': 'Back to the start',
  'action.busy': 'One moment…',

  'home.title': 'Leave your tokens at the door.',
  'home.lead':
    'Genkan is the entrance of the house. It signs you in at your OpenID provider, keeps every token on the server and gives the browser one opaque cookie.',
  'home.waiting': 'Looking whether you are signed in…',
  'home.at': 'at {name}',
  'home.hello': 'Welcome, {name}.',
  'home.signedIn': 'You are signed in. The shoes are off, the tokens are put away.',
  'home.why': 'See what is wrong',
  'home.toProfile': 'See your profile',
  'home.toApi': 'Try the API',
  'home.art': 'A Japanese entrance: a curtain in the doorway, and a pair of sandals left on the stone step.',
  'home.caption': 'Shoes come off here. Tokens stay here.',
  'home.how': 'How it works',
  'home.step1': 'You sign in',
  'home.step1Text':
    'A page load takes you to your provider and back, with PKCE, state and nonce. This app never sees a password or a code.',
  'home.step2': 'Genkan keeps the tokens',
  'home.step2Text':
    'They are sealed in its session store and renewed before they lapse. No answer, address or log carries one.',
  'home.step3': 'The app just calls',
  'home.step3Text':
    'Calls go to Genkan with the cookie; it attaches the access token and passes them on to the services behind it.',

  'profile.title': 'Profile',
  'profile.lead': 'What your provider says about you, and how long this session lasts.',
  'profile.claims': 'Claims',
  'profile.claim': 'Claim',
  'profile.value': 'Value',
  'profile.session': 'Session',
  'profile.provider': 'Provider',
  'profile.created': 'Began',
  'profile.authTime': 'Last sign-in at the provider',
  'profile.acr': 'Strength of sign-in',
  'profile.idle': 'Ends without activity in',
  'profile.absolute': 'Ends in any case in',
  'profile.renewed': 'Renewed. The time without activity starts anew.',
  'profile.sight': 'What a script can see',
  'profile.sightText':
    'Every cookie that a script on this page can read, looked up just now. No token is anywhere here.',
  'profile.empty': '(empty)',

  'api.title': 'Call an API',
  'api.lead':
    'The call goes to Genkan with the cookie. Genkan attaches your access token and passes it on; the answer comes back as it is.',
  'api.request': 'Request',
  'api.call': 'Call the API',
  'api.answer': 'Answer',
  'api.none': 'No call yet. Choose a request and send it.',
  'api.took': '{ms} ms',
  'api.hello': 'Who am I?',
  'api.post': 'Send some JSON',
  'api.missing': 'An address that does not exist',
  'api.noService': 'A path with no service behind it',

  'signedOut.title': 'Signed out',
  'signedOut.lead': 'Your session here has ended, and your provider was asked to end its own. Every open tab knows.',
  'signedOut.stillIn': 'You are signed in.',

  'notFound.title': 'Nothing here',
  'notFound.lead': 'No page has the address {path}.',

  'banner.expired': 'Your session has ended. This page stays as it is; sign in again and you come back to it.',
  'banner.ending': 'Your session ends in {time}.',
  'banner.trouble': 'Genkan cannot be reached just now. You stay signed in; this page tries again by itself.',
  'banner.failed': 'That did not work: {reason}',

  'problem.title': 'Something stands in the way',
  'problem.checking': 'Looking for the cause…',
  'problem.fine': 'Nothing is wrong at the moment',
  'problem.fineText': 'Genkan answers, and this app may read its answers.',
  'problem.loop': 'You came back, but not signed in',
  'problem.loopText':
    'Sign-in was tried a moment ago, and the browser still sends no session. If you went back or cancelled, just sign in. If you did sign in, the cookie does not arrive.',
  'problem.loopHosts':
    'You opened {app}; Genkan is at {bff}. These are different host names, so to the browser they are two sites, and it does not send the cookie of one with the calls of the other.',
  'problem.loopSites':
    'This app is at {app}, Genkan at {bff}. If these belong to two sites (two registered domains), many browsers keep back the cookie.',
  'problem.loopCause':
    'The likely causes: cookies are blocked for {bff}; or the time of this computer is far off; or something between this app and Genkan drops cookies.',
  'problem.openInstead': 'Open {url} instead',
  'problem.down': 'Genkan does not answer',
  'problem.downText': 'This page is at {app} and asked Genkan at {bff}. Nothing answers there.',
  'problem.downFix':
    'Start Genkan (./scripts/dev starts everything), or correct VITE_BFF_URL if it should be elsewhere.',
  'problem.refused': 'Genkan does not know this app',
  'problem.refusedText':
    'Genkan answers at {bff}, but lets no page of {app} read its answers: that origin is not on its list (CORS).',
  'problem.refusedFix': 'Add {app} to spa.origins (GENKAN_SPA_ORIGINS), letter by letter, and restart Genkan.',
  'problem.timeout': 'Genkan takes too long',
  'problem.timeoutText': 'This page is at {app} and asked Genkan at {bff}. No answer came in time.',
  'problem.stranger': 'Something else answers in place of Genkan',
  'problem.strangerText':
    'This page is at {app} and asked {bff}. What came back (status {status}) is not from Genkan: a proxy whose target is down, or a server that sends pages for every path.',
  'problem.strangerFix': 'Start Genkan, and route /bff and /api to it.',
  'problem.facts': 'Facts',
  'problem.thisPage': 'This page',
  'problem.genkan': 'Genkan',
  'problem.status': 'Status',
  'problem.code': 'Code',
  'problem.requestId': 'Request id',
  'problem.retryAfter': 'Try again in {seconds} s.',

  'code.unauthenticated': 'Not signed in',
  'code.session_expired': 'The session is over',
  'code.insufficient_user_authentication': 'A stronger sign-in is needed',
  'code.csrf': 'Not proven to come from this app',
  'code.not_found': 'Nothing has this address',
  'code.method_not_allowed': 'This method is not allowed here',
  'code.upstream_unavailable': 'The service behind Genkan does not answer',
  'code.upstream_timeout': 'The service behind Genkan took too long',
  'code.store_unavailable': 'The session store does not answer',
  'code.provider_unavailable': 'The identity provider does not answer',
  'code.internal': 'Something failed inside Genkan',
  'code.network': 'No answer',
  'code.timeout': 'No answer in time',
  'code.not_json': 'A page came back instead of data',
  'code.http': 'The service answered with an error',
}

export type MessageKey = keyof typeof en
export type Locale = 'en' | 'ja'

const ja: Record<MessageKey, string> = {
  'app.skip': '本文へ移動',
  'app.tagline': 'サインインの入り口',
  'app.themeDark': 'ダークテーマにする',
  'app.themeLight': 'ライトテーマにする',
  'app.footer': 'トークンはサーバーに置いたまま。ブラウザーが持つのは、スクリプトから読めない Cookie ひとつだけです。',
  'app.leaving': 'サインイン画面へ移動しています…',
  'nav.label': 'ページ',
  'nav.home': 'ホーム',
  'nav.profile': 'プロフィール',
  'nav.api': 'API',

  'action.signIn': 'サインイン',
  'action.signInWith': '{name} でサインイン',
  'action.signInAgain': 'もう一度サインイン',
  'action.signOut': 'サインアウト',
  'action.renew': '今すぐ更新',
  'action.stay': 'サインインしたままにする',
  'action.retry': '再試行',
  'action.home': 'ホームに戻る',
  'action.busy': 'お待ちください…',

  'home.title': 'トークンは、玄関で脱いで。',
  'home.lead':
    'Genkan はアプリの玄関です。OpenID プロバイダーでのサインインを引き受け、トークンはすべてサーバーで預かります。ブラウザーに渡すのは、中身の読めない Cookie ひとつだけです。',
  'home.waiting': 'サインインの状態を確認しています…',
  'home.at': '{name}',
  'home.hello': 'ようこそ、{name} さん。',
  'home.signedIn': 'サインインしています。靴はそろえて、トークンはしまってあります。',
  'home.why': '原因を見る',
  'home.toProfile': 'プロフィールを見る',
  'home.toApi': 'API を試す',
  'home.art': '日本の玄関の絵。のれんの掛かった戸口と、沓脱石にそろえた草履。',
  'home.caption': '靴はここで脱ぎ、トークンはここに置いていきます。',
  'home.how': 'しくみ',
  'home.step1': 'サインインする',
  'home.step1Text':
    'ページ遷移でプロバイダーへ行き、戻ってきます。PKCE・state・nonce で守られ、アプリがパスワードや認可コードに触れることはありません。',
  'home.step2': 'トークンは Genkan が預かる',
  'home.step2Text':
    '暗号化してセッションストアに保管し、期限が切れる前に更新します。応答にも URL にもログにもトークンは現れません。',
  'home.step3': 'アプリは呼び出すだけ',
  'home.step3Text':
    'アプリは Cookie 付きで Genkan を呼び出します。Genkan がアクセストークンを付けて、後ろのサービスへ渡します。',

  'profile.title': 'プロフィール',
  'profile.lead': 'プロバイダーから届いた利用者情報と、このセッションの残り時間です。',
  'profile.claims': 'クレーム',
  'profile.claim': 'クレーム',
  'profile.value': '値',
  'profile.session': 'セッション',
  'profile.provider': 'プロバイダー',
  'profile.created': '開始',
  'profile.authTime': 'プロバイダーでの認証',
  'profile.acr': '認証の強度',
  'profile.idle': '操作がない場合の残り時間',
  'profile.absolute': '最長の残り時間',
  'profile.renewed': '更新しました。操作がない時間を最初から数え直します。',
  'profile.sight': 'スクリプトから見えるもの',
  'profile.sightText':
    'このページのスクリプトから読める Cookie のすべてです（いま読み取った値）。トークンはどこにもありません。',
  'profile.empty': '（空）',

  'api.title': 'API を呼び出す',
  'api.lead':
    '呼び出しは Cookie とともに Genkan へ届きます。Genkan がアクセストークンを付けて後ろのサービスへ渡し、応答をそのまま返します。',
  'api.request': 'リクエスト',
  'api.call': 'API を呼び出す',
  'api.answer': '応答',
  'api.none': 'まだ呼び出していません。リクエストを選んで送信してください。',
  'api.took': '{ms} ミリ秒',
  'api.hello': '自分の情報を取得する',
  'api.post': 'JSON を送る',
  'api.missing': '存在しないアドレス',
  'api.noService': 'サービスのないパス',

  'signedOut.title': 'サインアウトしました',
  'signedOut.lead':
    'ここでのセッションは終了し、プロバイダーにも終了を依頼しました。開いているほかのタブにも伝わっています。',
  'signedOut.stillIn': 'サインインしています。',

  'notFound.title': 'ページが見つかりません',
  'notFound.lead': '{path} というページはありません。',

  'banner.expired':
    'セッションが終了しました。表示中の内容はそのままです。もう一度サインインすると、このページに戻ります。',
  'banner.ending': 'あと {time} でセッションが終了します。',
  'banner.trouble': '現在 Genkan に接続できません。サインインは続いており、自動で再試行します。',
  'banner.failed': 'うまくいきませんでした（{reason}）',

  'problem.title': '問題が起きています',
  'problem.checking': '原因を調べています…',
  'problem.fine': '現在、問題はありません',
  'problem.fineText': 'Genkan は応答しており、このアプリから読み取れます。',
  'problem.loop': 'サインインできません',
  'problem.loopText':
    '先ほどサインインを試みましたが、ブラウザーからセッションが送られてきません。途中で戻ったり中止したりした場合は、もう一度サインインしてください。サインインを終えていた場合は、Cookie が届いていません。',
  'problem.loopHosts':
    '開いているのは {app}、Genkan は {bff} です。ホスト名が異なるため、ブラウザーからは別のサイトに見え、一方の Cookie はもう一方からの呼び出しに付きません。',
  'problem.loopSites':
    'このアプリは {app}、Genkan は {bff} にあります。この二つが別のサイト（別の登録ドメイン）の場合、多くのブラウザーは Cookie を送りません。',
  'problem.loopCause':
    '考えられる原因：{bff} の Cookie がブロックされている、パソコンの時刻が大きくずれている、アプリと Genkan の間で Cookie が失われている。',
  'problem.openInstead': '代わりに {url} を開く',
  'problem.down': 'Genkan が応答しません',
  'problem.downText': 'このページは {app} にあり、{bff} の Genkan に問い合わせましたが、応答がありません。',
  'problem.downFix':
    'Genkan を起動してください（./scripts/dev ですべて起動します）。別の場所にある場合は VITE_BFF_URL を直してください。',
  'problem.refused': 'Genkan にこのアプリが登録されていません',
  'problem.refusedText':
    '{bff} の Genkan は応答していますが、{app} のページには応答の読み取りを許可していません（CORS）。',
  'problem.refusedFix':
    'spa.origins（GENKAN_SPA_ORIGINS）に {app} を一字一句そのまま追加し、Genkan を再起動してください。',
  'problem.timeout': 'Genkan の応答に時間がかかっています',
  'problem.timeoutText':
    'このページは {app} にあり、{bff} の Genkan に問い合わせましたが、時間内に応答がありませんでした。',
  'problem.stranger': 'Genkan ではないものが応答しています',
  'problem.strangerText':
    'このページは {app} にあり、{bff} に問い合わせました。返ってきた応答（ステータス {status}）は Genkan のものではありません。転送先が止まっているプロキシか、どのパスにもページを返すサーバーのようです。',
  'problem.strangerFix': 'Genkan を起動し、/bff と /api を Genkan に転送してください。',
  'problem.facts': '詳細',
  'problem.thisPage': 'このページ',
  'problem.genkan': 'Genkan',
  'problem.status': 'ステータス',
  'problem.code': 'コード',
  'problem.requestId': 'リクエスト ID',
  'problem.retryAfter': '{seconds} 秒後に再試行してください。',

  'code.unauthenticated': 'サインインしていません',
  'code.session_expired': 'セッションは終了しました',
  'code.insufficient_user_authentication': 'より強い認証が必要です',
  'code.csrf': 'このアプリからの呼び出しと確認できません',
  'code.not_found': 'このアドレスには何もありません',
  'code.method_not_allowed': 'このメソッドは使えません',
  'code.upstream_unavailable': '後ろのサービスが応答しません',
  'code.upstream_timeout': '後ろのサービスの応答が遅すぎます',
  'code.store_unavailable': 'セッションストアが応答しません',
  'code.provider_unavailable': 'プロバイダーが応答しません',
  'code.internal': 'Genkan の内部でエラーが起きました',
  'code.network': '応答がありません',
  'code.timeout': '時間内に応答がありません',
  'code.not_json': 'データではなくページが返ってきました',
  'code.http': 'サービスがエラーを返しました',
}

export const messages: Record<Locale, Record<MessageKey, string>> = { en, ja }
